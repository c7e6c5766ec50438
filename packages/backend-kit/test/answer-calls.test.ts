import { expect, test } from "vitest";
import { answerCalls } from "../src/answer-calls.js";
import type { AnswerMessage, CallMessage, CancelMessage } from "../src/calls.js";

interface Calls {
  readonly load: { readonly argument: undefined; readonly result: undefined };
  readonly run: { readonly argument: number; readonly result: number };
  readonly release: { readonly argument: undefined; readonly result: undefined };
}

test.each([0, 1, 5, 50])(
  "the last answer comes after those of calls that were computed before it, %i turns late",
  async (turns) => {
    const answers: { readonly id: number; readonly isLast: boolean }[] = [];
    let react: (message: CallMessage<Calls> | CancelMessage) => void = () => undefined;
    let computed: () => void = () => undefined;
    const released = new Promise<void>((resolve) => {
      computed = resolve;
    });
    answerCalls<Calls>(
      {
        onMessage: (listener) => {
          react = listener;
        },
        answer: ({ id }: AnswerMessage<Calls>, isLast) => void answers.push({ id, isLast }),
        during: (work) => work(),
      },
      {
        load: async () => undefined,
        async run(number) {
          await released;
          for (let turn = 0; turn < turns; turn += 1) await undefined;
          if (number < 0) throw new Error("no such number");
          return number;
        },
        async release() {
          computed();
          return undefined;
        },
      },
    );
    react({ id: 1, kind: "run", argument: 1 });
    react({ id: 2, kind: "run", argument: -1 });
    react({ id: 3, kind: "release", argument: undefined });
    await expect.poll(() => answers.length).toBe(3);
    expect(answers.at(-1)).toEqual({ id: 3, isLast: true });
    expect(answers.map(({ id }) => id).sort()).toEqual([1, 2, 3]);
  },
);
