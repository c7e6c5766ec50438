/** The embedded model's name. A folder of that name is `./nano`. */
export const defaultModel = "nano";
