import { type Frame, lineHeight, width } from "./svg.js";

/** A point and the size of the text that names it, in pixels. */
export interface LabelledPoint {
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

/** Where a text stands: its beginning or end, vertically centred at y. */
export interface PlacedLabel {
  readonly x: number;
  readonly y: number;
  readonly anchor: "start" | "end";
  /** A line from the point to a text that does not stand beside it. */
  readonly leader: readonly [readonly [number, number], readonly [number, number]] | undefined;
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Pixels between a point's middle and its text. */
const gap = 10;

/** Half a mark, in pixels. */
const markReach = 7;

/**
 * A place for each text: beside its point where there is room, else above or beneath, as near as it gets, so that texts
 * cover neither each other nor a mark. Where nothing is free, the place that covers least.
 */
export function placeLabels(points: readonly LabelledPoint[], frame: Frame): readonly PlacedLabel[] {
  const marks = points.map(({ x, y }) => ({
    left: x - markReach,
    right: x + markReach,
    top: y - markReach,
    bottom: y + markReach,
  }));
  const taken: Box[] = [];
  return points.map((point) => {
    let best: { readonly place: PlacedLabel; readonly box: Box; readonly covered: number } | undefined;
    for (const place of placesOf(point, frame)) {
      const box = boxOf(place, point.width);
      if (box.left < frame.left || box.right > width) continue;
      const covered = [...marks, ...taken].reduce((total, other) => total + overlap(box, other), 0);
      if (best === undefined || covered < best.covered) best = { place, box, covered };
      if (covered === 0) break;
    }
    // A text that is wider than the frame on both sides; clipped names are not.
    best ??= {
      place: { ...point, anchor: "start", leader: undefined },
      box: boxOf({ ...point, anchor: "start" }, point.width),
      covered: 0,
    };
    taken.push(best.box);
    return best.place;
  });
}

/** The nearest first; on the side where there is more of the frame first. */
function* placesOf({ x, y }: LabelledPoint, frame: Frame): Generator<PlacedLabel> {
  const sides =
    x < (frame.left + frame.right) / 2 ? (["start", "end"] as const) : (["end", "start"] as const);
  const most = frame.bottom - frame.top;
  for (let step = 0; step <= most; step += lineHeight / 2) {
    for (const height of step === 0 ? [y] : [y - step, y + step]) {
      if (height < frame.top + lineHeight / 2 || height > frame.bottom - lineHeight / 2) continue;
      for (const anchor of sides) {
        const at = anchor === "start" ? x + gap : x - gap;
        const near = Math.abs(height - y) < lineHeight;
        const end = anchor === "start" ? at - 2 : at + 2;
        yield {
          x: at,
          y: height,
          anchor,
          leader: near
            ? undefined
            : [
                [x, y],
                [end, height],
              ],
        };
      }
    }
  }
}

function boxOf({ x, y, anchor }: Pick<PlacedLabel, "x" | "y" | "anchor">, size: number): Box {
  const left = anchor === "start" ? x : x - size;
  return { left, right: left + size, top: y - lineHeight / 2, bottom: y + lineHeight / 2 };
}

function overlap(a: Box, b: Box): number {
  const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  return across > 0 && down > 0 ? across * down : 0;
}
