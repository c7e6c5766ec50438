/** A text that is longer than the model reads, so that the page shows what was cut. */
const long = Array.from(
  { length: 40 },
  (_, day) => `On day ${day + 1} of the voyage the log notes the wind, the course and the distance sailed.`,
).join(" ");

export const documents: readonly string[] = [
  "Photosynthesis lets plants turn sunlight, water and carbon dioxide into sugar and oxygen.",
  "The heart pumps blood through arteries to the organs and back through veins.",
  "A bicycle chain should be cleaned and oiled every few hundred kilometres.",
  "Sourdough bread rises because wild yeast and bacteria ferment the dough overnight.",
  "The Moon causes the tides: its gravity pulls the oceans on both sides of the Earth.",
  "To reset your password, open the account settings and choose “Forgot password”.",
  "Vaccines train the immune system to recognise a virus before it causes illness.",
  "The French Revolution began in 1789 with the storming of the Bastille.",
  "Refunds are paid within 14 days to the card that was used for the order.",
  "Python lists can be sorted in place with list.sort(), or copied with sorted().",
  "Coffee keeps people awake because caffeine blocks adenosine in the brain.",
  "Mount Everest, on the border of Nepal and China, is 8,849 metres high.",
  `A ship's log of forty days. ${long}`,
];
