/** GPT-2's alphabet: a visible character for each byte, those of Latin-1 for themselves, the others from U+0100 on. */
const alphabet: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const visible = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return String.fromCharCode(visible ? byte : next++);
  });
})();

const byteOf: ReadonlyMap<string, number> = new Map(alphabet.map((character, byte) => [character, byte]));

/** The UTF-8 bytes of a text, each as its character of the alphabet. */
export function toByteAlphabet(text: string): string {
  if (!/[^!-~]/.test(text)) return text;
  let out = "";
  for (const byte of new TextEncoder().encode(text)) out += alphabet[byte];
  return out;
}

/**
 * The text that tokens of the alphabet stand for; what is not UTF-8 becomes U+FFFD. A token with a character outside
 * of the alphabet stands for itself (`Decoder for ByteLevel` of `pre_tokenizers/byte_level.rs`).
 */
export function fromByteAlphabet(tokens: readonly string[]): string {
  const encoder = new TextEncoder();
  const bytes = tokens.flatMap((token) => {
    const own = Array.from(token, (character) => byteOf.get(character) ?? -1);
    return own.includes(-1) ? [...encoder.encode(token)] : own;
  });
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
}
