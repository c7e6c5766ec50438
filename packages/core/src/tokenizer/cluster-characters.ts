// Characters of grapheme clusters, as insides of regular expressions with the flag `u`.

/** What joins the character before it (Unicode Annex 29: Extend, ZWJ, SpacingMark), also in Unicode 17. */
export const joining =
  "(?:[\\p{Grapheme_Extend}\\p{Emoji_Modifier}\\u1acf-\\u1add\\u1ae0-\\u1aeb\\u200d\\u0e33\\u0eb3]|(?![\\u102b\\u102c\\u1038\\u1062-\\u1064\\u1067-\\u106d\\u1083\\u1087-\\u108c\\u108f\\u109a-\\u109c\\u1a61\\u1a63\\u1a64\\uaa7b\\uaa7d\\u{11720}\\u{11721}])\\p{Mc})";
/** What joins the character after it (Prepend). */
export const prepended =
  "[\\u0600-\\u0605\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u0d4e\\u{110bd}\\u{110cd}\\u{111c2}\\u{111c3}\\u{113d1}\\u{1193f}\\u{11941}\\u{11a84}-\\u{11a89}\\u{11d46}\\u{11f02}]";
export const separate = "[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]";
export const virama =
  "[\\u094d\\u09cd\\u0acd\\u0b4d\\u0c4d\\u0d4d\\u1039\\u17d2\\u1a60\\u1b44\\u1bab\\ua9c0\\uaaf6]";
