import { escapeXml, replaceForbidden } from "./escape.js";

/** A finished drawing: SVG without scripts, links, styles or fonts of its own, coloured by the page's CSS variables. */
export type Svg = string;

/** Pixels; a phone is a little narrower and shrinks the drawing by a tenth, a wide column enlarges it. */
export const width = 380;

/** Pixels of a line of text. */
export const lineHeight = 14;

/** Where the data are drawn, in pixels from the upper left corner of the drawing. */
export interface Frame {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

export interface Tick {
  readonly value: number;
  readonly label: string;
}

export type Attributes = Readonly<Record<string, string | number>>;

/** An element; what is text in `content` must be escaped. */
export function element(name: string, attributes: Attributes, content = ""): string {
  const written = Object.entries(attributes).map(
    ([key, value]) => ` ${key}="${typeof value === "number" ? pixels(value) : escapeXml(value)}"`,
  );
  return content === ""
    ? `<${name}${written.join("")}/>`
    : `<${name}${written.join("")}>${content}</${name}>`;
}

export function drawing(height: number, parts: readonly string[]): Svg {
  const box = { viewBox: `0 0 ${width} ${pixels(height)}`, width, height };
  return element(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", ...box, "font-size": 12, fill: "var(--ink)" },
    parts.join(""),
  );
}

/** What a reader of the figure's text and table need not hear again. */
export function silent(parts: readonly string[], attributes: Attributes = {}): string {
  return element("g", { "aria-hidden": "true", ...attributes }, parts.join(""));
}

/** A line of text, vertically centred at y. */
export function label(
  text: string,
  at: { readonly x: number; readonly y: number; readonly anchor?: "start" | "middle" | "end" },
): string {
  const { x, y, anchor = "start" } = at;
  return element("text", { x, y: y + 4, "text-anchor": anchor }, escapeXml(text));
}

export function line(
  from: readonly [number, number],
  to: readonly [number, number],
  stroke: Attributes,
): string {
  return element("line", { x1: from[0], y1: from[1], x2: to[0], y2: to[1], ...stroke });
}

/** A value's place: `from` the domain's ends to pixels. */
export function scale(
  domain: readonly [number, number],
  range: readonly [number, number],
): (value: number) => number {
  const [low, high] = domain;
  return (value) => range[0] + ((value - low) / (high - low)) * (range[1] - range[0]);
}

const gridStroke = { stroke: "var(--grid)" };

/** Labels beneath the frame, grid lines through it, and a title. */
export function horizontalAxis(
  frame: Frame,
  ticks: readonly Tick[],
  place: (value: number) => number,
  axis: { readonly title: string; readonly grid: boolean },
): string {
  const { left, right, top, bottom } = frame;
  let free = Number.NEGATIVE_INFINITY;
  const parts = ticks.flatMap((tick) => {
    const x = place(tick.value);
    const half = textWidth(tick.label) / 2;
    const mark = line([x, axis.grid ? top : bottom], [x, bottom + 5], gridStroke);
    if (x - half < free) return [mark];
    free = x + half + 4;
    return [mark, label(tick.label, { x: Math.min(x, width - half), y: bottom + 14, anchor: "middle" })];
  });
  const text = clip(axis.title, width);
  const half = textWidth(text) / 2;
  const x = Math.min(Math.max((left + right) / 2, half), width - half);
  const title = label(text, { x, y: bottom + 33, anchor: "middle" });
  return silent([line([left, bottom], [right, bottom], gridStroke), ...parts, title]);
}

/** Pixels beneath a frame that its horizontal axis takes. */
export const horizontalAxisHeight = 42;

/** Labels left of the frame, grid lines through it, and a title that reads upwards. */
export function verticalAxis(
  frame: Frame,
  ticks: readonly Tick[],
  place: (value: number) => number,
  title: string,
): string {
  const { left, right, top, bottom } = frame;
  const middle = (top + bottom) / 2;
  const written = escapeXml(clip(title, bottom - top));
  return silent([
    ...ticks.flatMap((tick) => {
      const y = place(tick.value);
      return [
        line([left - 5, y], [right, y], gridStroke),
        label(tick.label, { x: left - 8, y, anchor: "end" }),
      ];
    }),
    element(
      "text",
      { "text-anchor": "middle", transform: `translate(12 ${pixels(middle)}) rotate(-90)` },
      written,
    ),
  ]);
}

/** Pixels left of a frame that its vertical axis takes. */
export function verticalAxisWidth(ticks: readonly Tick[]): number {
  return 28 + Math.max(0, ...ticks.map((tick) => textWidth(tick.label)));
}

/** Round values within the ends, about as many as asked for. */
export function linearTicks([low, high]: readonly [number, number], count = 5): readonly Tick[] {
  const { step, decimals } = roundStep((high - low) / count);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const value = (first + index) * step;
    return { value, label: showFixed(value, decimals) };
  });
}

/** The ends moved outwards to round values. */
export function roundEnds([low, high]: readonly [number, number], count = 5): readonly [number, number] {
  const { step } = roundStep((high - low) / count);
  return [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
}

/** 1, 2 or 5 times a power of ten, from about 0.7 to 1.5 times what is asked for. */
function roundStep(wanted: number): { readonly step: number; readonly decimals: number } {
  const power = Math.floor(Math.log10(wanted));
  const part = wanted / 10 ** power;
  const digit = part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10;
  return { step: digit * 10 ** power, decimals: Math.max(0, digit === 10 ? -power - 1 : -power) };
}

/** 1, 2 and 5 times powers of ten within the ends, which are powers of ten; else round values. */
export function logarithmicTicks([low, high]: readonly [number, number]): readonly Tick[] {
  const values: number[] = [];
  const digits = high - low > 2 ? [1] : [1, 2, 5];
  for (let power = Math.floor(low); power <= Math.ceil(high); power += 1) {
    for (const digit of digits) {
      const value = digit * 10 ** power;
      if (Math.log10(value) >= low && Math.log10(value) <= high) values.push(value);
    }
  }
  const chosen =
    values.length >= 2 ? values : linearTicks([10 ** low, 10 ** high], 3).map(({ value }) => value);
  return chosen.map((value) => ({ value: Math.log10(value), label: showScaled(value) }));
}

/** `1500` → `1.5k`. */
function showScaled(value: number): string {
  const short = (part: number) => String(Number(part.toPrecision(3)));
  return value >= 1e6 ? `${short(value / 1e6)}M` : value >= 1e3 ? `${short(value / 1e3)}k` : short(value);
}

function showFixed(value: number, decimals: number): string {
  const text = value.toFixed(Math.min(decimals, 100));
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** Pixels of a line of text in a page's sans-serif, rather too many: what is measured does not know the font. */
export function textWidth(text: string): number {
  let total = 0;
  for (const character of text) total += glyphWidth(character);
  return total;
}

function glyphWidth(character: string): number {
  if ((character.codePointAt(0) ?? 0) >= 0x1100) return 12;
  if (/[MWmw@%✗…]/.test(character)) return 11;
  if (/[ ijl.,:;|'!()[\]]/.test(character)) return 4;
  return /\p{Lu}/u.test(character) ? 8.5 : 7;
}

/** The text, or as much of it as fits, and an ellipsis. */
export function clip(text: string, most: number): string {
  const whole = replaceForbidden(text);
  if (textWidth(whole) <= most) return whole;
  let left = most - glyphWidth("…");
  let kept = "";
  for (const character of whole) {
    left -= glyphWidth(character);
    if (left < 0) break;
    kept += character;
  }
  return `${kept}…`;
}

/** Hundredths at most: a page of thousands of points is half as long, and nobody sees the difference. */
export function pixels(value: number): string {
  return String(Math.round(value * 100) / 100);
}
