import { fetchModel, web } from "@crossrank/backend-web";
import { createReranker, type Reranker, type RerankResult } from "@crossrank/core";
import { documents as samples } from "./documents.js";

const $ = <Type extends Element>(id: string): Type => document.querySelector<Type>(`#${id}`) as Type;
const query = $<HTMLInputElement>("query");
const texts = $<HTMLTextAreaElement>("documents");
const results = $<HTMLOListElement>("results");
const status = $<HTMLParagraphElement>("status");
const loading = $<HTMLProgressElement>("loading");
const facts = $<HTMLParagraphElement>("facts");

/** Milliseconds without a key before anything is computed. */
const pause = 150;

texts.value = samples.join("\n");
const documentsNow = (): string[] => texts.value.split("\n").filter((line) => line.trim() !== "");

async function load(): Promise<Reranker> {
  const model = await fetchModel("models/nano/");
  const total = (await model.list()).find(({ path }) => path.endsWith(".onnx"))?.size ?? 1;
  return createReranker({
    model,
    backend: web(),
    onProgress: ({ path, loaded }) => {
      if (!path.endsWith(".onnx")) return;
      loading.value = loaded / total;
      status.textContent = `Loading the model: ${megabytes(loaded)} of ${megabytes(total)} MB`;
    },
  });
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

type Ranked = RerankResult<string>["results"][number];

/** @param best score of the first: the bars are shares of it. */
function row(text: string, place: number, result?: Ranked, best = 1): HTMLLIElement {
  const item = document.createElement("li");
  const add = (name: string, content: string, parent: Element = item): HTMLElement => {
    const element = document.createElement(name === "text" ? "p" : "span");
    element.className = name;
    element.textContent = content;
    parent.append(element);
    return element;
  };
  if (result !== undefined) {
    const head = document.createElement("div");
    head.className = "head";
    add("rank", String(place + 1), head);
    const { score, tokens, truncatedTokens } = result;
    add("score", score === null ? "no score" : score.toFixed(3), head);
    add("tokens", `${tokens} tokens`, head);
    if (truncatedTokens > 0) add("cut", `${truncatedTokens} cut off`, head);
    const track = document.createElement("div");
    track.className = "track";
    const bar = document.createElement("div");
    bar.style.inlineSize = `${Math.max(0, Math.min(1, (score ?? 0) / best)) * 100}%`;
    track.append(bar);
    item.append(head, track);
    if (place === 0) item.classList.add("best");
  }
  add("text", text);
  return item;
}

function showUnranked(): void {
  results.replaceChildren(...documentsNow().map((text, place) => row(text, place)));
}

let last = new AbortController();
let timer: ReturnType<typeof setTimeout> | undefined;

async function rank(reranker: Reranker): Promise<void> {
  last.abort();
  const call = new AbortController();
  last = call;
  const asked = query.value.trim();
  const documents = documentsNow();
  if (asked === "" || documents.length === 0) {
    showUnranked();
    status.textContent = "Type a query.";
    return;
  }
  const started = performance.now();
  try {
    const { results: found } = await reranker.rerank({ query: asked, documents, signal: call.signal });
    const took = Math.round(performance.now() - started);
    const best = found[0]?.score ?? 1;
    results.replaceChildren(
      ...found.map((result, place) => row(documents[result.index] as string, place, result, best)),
    );
    results.dataset["query"] = asked;
    status.textContent = `${documents.length} documents in ${took} ms`;
  } catch (error) {
    // A newer query came meanwhile.
    if (!call.signal.aborted) fail(error);
  }
}

function fail(error: unknown): void {
  status.classList.add("fault");
  status.textContent = error instanceof Error ? error.message : String(error);
}

showUnranked();
try {
  const reranker = await load();
  loading.hidden = true;
  const { executionProvider, threads } = reranker.session.settings;
  const { name, version } = reranker.session.info.runtime;
  facts.textContent =
    `@crossrank/model-nano (${reranker.session.artifact.dtype}, ${reranker.profile.maxLength} tokens) on ${name} ` +
    `${version}, ${executionProvider}, ${threads === "1" ? "1 thread" : `${threads} threads`}`;
  const later = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => void rank(reranker), pause);
  };
  query.addEventListener("input", later);
  texts.addEventListener("input", later);
  addEventListener("pagehide", () => void reranker.dispose());
  await rank(reranker);
} catch (error) {
  loading.hidden = true;
  fail(error);
}
