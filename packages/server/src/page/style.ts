/** The page's style sheet. No file, font or picture from elsewhere. */
export const style: string = `
:root {
  color-scheme: light dark;
  --back: #f6f7f9; --card: #ffffff; --text: #1c2230; --quiet: #5a6377; --line: #d5dae3;
  --accent: #1f5fbf; --on-accent: #ffffff; --bar: #8db4ea; --up: #176b3a; --down: #a1361f; --moved: #fff5d9;
  --fault: #9b1c1c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #12151c; --card: #1b202a; --text: #e7eaf1; --quiet: #a2abbd; --line: #343c4b;
    --accent: #7db0ff; --on-accent: #0b1526; --bar: #2f5f9f; --up: #6fd498; --down: #ff9a84; --moved: #35301c;
    --fault: #ff9c9c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
header, main { max-width: 72rem; margin: 0 auto; padding: 0 1rem; }
header { padding-block: 1.25rem .5rem; display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem; }
h1 { font-size: 1.25rem; margin: 0; }
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
header p { margin: 0; color: var(--quiet); }
a { color: var(--accent); }
form, .column, .notice { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; }
form { display: grid; gap: .9rem; }
label { display: grid; gap: .3rem; font-weight: 600; }
label small { font-weight: 400; color: var(--quiet); }
input, textarea, select, button { font: inherit; color: inherit; }
input, textarea, select {
  font-weight: 400; inline-size: 100%; background: var(--back); border: 1px solid var(--line); border-radius: .4rem;
  padding: .5rem .6rem; min-block-size: 2.75rem;
}
textarea { resize: vertical; min-block-size: 9rem; }
.choices { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); }
button {
  justify-self: start; background: var(--accent); color: var(--on-accent); font-weight: 600; border: 0;
  border-radius: .4rem; padding: .6rem 1.4rem; min-block-size: 2.75rem; cursor: pointer;
}
button:disabled { opacity: .6; cursor: progress; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.actions { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; }
.actions p { margin: 0; color: var(--quiet); }
.notice { margin-block: 1rem 0; }
.notice.fault { color: var(--fault); border-color: currentColor; }
#results { display: grid; gap: 1rem; margin-block: 1rem 2rem; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); }
.column > p { margin: .1rem 0 .8rem; color: var(--quiet); font-size: .9rem; }
.column ul.warnings { margin: 0 0 .8rem; padding-inline-start: 1.2rem; font-size: .9rem; }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: .6rem; }
ol > li { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .7rem; }
ol > li.moved { background: var(--moved); }
.head { display: flex; flex-wrap: wrap; gap: .2rem .8rem; align-items: baseline; font-variant-numeric: tabular-nums; }
.rank { font-weight: 700; min-inline-size: 1.6rem; }
.score { font-weight: 600; }
.facts { color: var(--quiet); font-size: .85rem; }
.cut { color: var(--down); font-size: .85rem; }
.up { color: var(--up); font-weight: 600; }
.down { color: var(--down); font-weight: 600; }
.track { block-size: .35rem; border-radius: .2rem; background: var(--back); margin-block: .35rem; overflow: hidden; }
.track > div { block-size: 100%; background: var(--bar); }
li p { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; max-block-size: 12rem; overflow-y: auto; }
[hidden] { display: none !important; }
@media (max-width: 30rem) { button { inline-size: 100%; } }
`;
