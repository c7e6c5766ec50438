/** The page's program. It writes texts as texts, never as HTML, and calls this server alone. */
export const script: string = String.raw`
"use strict";
const at = (id) => document.getElementById(id);
const make = (name, className, text) => {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
let models = [];

async function call(path, body) {
  const headers = { "content-type": "application/json" };
  const key = at("key").value.trim();
  if (key) headers.authorization = "Bearer " + key;
  for (let tries = 0; ; tries += 1) {
    const response = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
    const seconds = Number(response.headers.get("retry-after"));
    if (response.status === 503 && seconds > 0 && tries < 20) {
      say("Waiting: " + (await response.json()).message + ".");
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      continue;
    }
    const answer = await response.json();
    if (response.ok) return { answer, milliseconds: 0 };
    if (response.status === 401) at("key-field").hidden = false;
    throw new Error(answer.message ?? answer.detail ?? "The server answered " + response.status);
  }
}

function say(text) {
  at("status").textContent = text;
}

function complain(text) {
  const notice = at("fault");
  notice.textContent = text && text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
  notice.hidden = !text;
}

function fill(select, first) {
  const chosen = select.value;
  select.replaceChildren();
  if (first) {
    const none = make("option", "", first);
    none.value = "";
    select.append(none);
  }
  for (const { id, backend, dtype } of models) {
    const run = [backend, dtype].filter(Boolean).join(" ");
    const option = make("option", "", run ? id + " (" + run + ")" : id);
    option.value = id;
    select.append(option);
  }
  select.value = [...select.options].some(({ value }) => value === chosen) ? chosen : (select.options[0]?.value ?? "");
}

async function list() {
  const { answer } = await call("v1/models");
  models = answer.data;
  fill(at("first"));
  fill(at("second"), "none");
  at("second-field").hidden = models.length < 2;
  at("instruction-field").hidden = !models.some((model) => model.takes_instruction);
}

function describe(id) {
  const { backend, runtime, dtype, max_length: length } = models.find((model) => model.id === id) ?? {};
  return [backend, dtype, runtime, length && length + " tokens at most"].filter(Boolean).join(" · ");
}

function column(id, answer, texts, seconds, other) {
  const section = make("section", "column");
  section.setAttribute("aria-label", "Ranking of " + id);
  section.append(make("h2", "", id));
  const scale = answer.scale === "probability" ? "" : " · scores: " + answer.scale;
  section.append(make("p", "", describe(id) + " · " + answer.usage.total_tokens + " tokens in " + seconds + " s" + scale));
  if (answer.warnings.length > 0) {
    const warnings = make("ul", "warnings");
    for (const { message } of answer.warnings) warnings.append(make("li", "", message));
    section.append(warnings);
  }
  const ranked = make("ol");
  answer.results.forEach((result, place) => {
    const item = make("li");
    const head = make("div", "head");
    head.append(make("span", "rank", String(place + 1)));
    head.append(make("span", "score", result.relevance_score.toFixed(4)));
    if (other) {
      const before = other.results.findIndex(({ index }) => index === result.index);
      const moved = before - place;
      const difference = result.relevance_score - other.results[before].relevance_score;
      if (moved !== 0) {
        item.className = "moved";
        const word = moved > 0 ? "up" : "down";
        head.append(make("span", word, (moved > 0 ? "▲ " : "▼ ") + Math.abs(moved) + " " + word));
      }
      head.append(make("span", "facts", (difference < 0 ? "−" : "+") + Math.abs(difference).toFixed(4)));
    }
    head.append(make("span", "facts", "document " + (result.index + 1) + " · " + result.tokens + " tokens"));
    const least = result.truncated_tokens_is_minimum ? "at least " : "";
    if (result.truncated_tokens > 0) head.append(make("span", "cut", least + result.truncated_tokens + " tokens cut"));
    const track = make("div", "track");
    const bar = make("div");
    bar.style.inlineSize = Math.max(0, Math.min(1, result.relevance_score)) * 100 + "%";
    track.append(bar);
    item.append(head, track, make("p", "", texts[result.index]));
    ranked.append(item);
  });
  section.append(ranked);
  return section;
}

function compare(first, second) {
  const places = new Map(first.results.map(({ index, relevance_score: score }, place) => [index, { place, score }]));
  let moved = 0;
  let most = 0;
  second.results.forEach(({ index, relevance_score: score }, place) => {
    const before = places.get(index);
    if (before.place !== place) moved += 1;
    most = Math.max(most, Math.abs(score - before.score));
  });
  const order = moved === 0 ? "Both have the same order" : moved + " of " + second.results.length + " documents have another place";
  return order + "; the largest difference of a score is " + most.toFixed(4) + ".";
}

async function rank(event) {
  event?.preventDefault();
  complain("");
  const texts = at("documents").value.split("\n").filter((line) => line.trim() !== "");
  const query = at("query").value;
  if (query.trim() === "") return complain("Write a query first.");
  if (texts.length === 0) return complain("Write at least one document, one a line.");
  const instruction = at("instruction").value.trim();
  const chosen = [at("first").value, at("second").value].filter(Boolean);
  at("rank").disabled = true;
  say("Ranking …");
  try {
    const answers = [];
    for (const model of chosen) {
      const takes = models.find(({ id }) => id === model)?.takes_instruction;
      const began = performance.now();
      const { answer } = await call("v1/rerank", {
        model, query, documents: texts, return_details: true,
        ...(instruction && takes !== false ? { instruction } : {}),
      });
      answers.push({ model, answer, seconds: ((performance.now() - began) / 1000).toFixed(2) });
    }
    await list();
    const [first, second] = answers;
    at("results").replaceChildren(
      ...answers.map(({ model, answer, seconds }, place) =>
        column(model, answer, texts, seconds, place === 1 ? first.answer : undefined)),
    );
    say(second ? compare(first.answer, second.answer) : texts.length + " documents ranked.");
  } catch (error) {
    say("");
    complain(error.message);
  } finally {
    at("rank").disabled = false;
  }
}

at("form").addEventListener("submit", rank);
at("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("form").requestSubmit();
});
at("key").addEventListener("change", () => list().then(() => complain(""), (error) => complain(error.message)));
list().catch((error) => complain(error.message));
`;
