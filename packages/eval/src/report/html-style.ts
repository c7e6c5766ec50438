/**
 * Colours by use, light and dark. Text is at least 4.5 : 1 against the page, drawn marks at least 3 : 1 (WCAG 2.2,
 * 1.4.3 and 1.4.11), which a test computes. Failure and loss are never told by colour alone.
 */
export const palette: Readonly<Record<"light" | "dark", Readonly<Record<string, string>>>> = {
  light: {
    page: "#ffffff",
    card: "#f6f7f9",
    ink: "#1c2128",
    "ink-soft": "#57606a",
    grid: "#d5dae0",
    baseline: "#868e98",
    reference: "#33404f",
    candidate: "#1f6fc5",
    gain: "#12806a",
    loss: "#c2410c",
    good: "#12703f",
    warn: "#8a5a00",
    bad: "#b3261e",
  },
  dark: {
    page: "#12161c",
    card: "#1b2129",
    ink: "#e8ebef",
    "ink-soft": "#a3adb9",
    grid: "#36404c",
    baseline: "#7d8794",
    reference: "#c9d3df",
    candidate: "#5aa9f8",
    gain: "#3cc2a4",
    loss: "#f58a4b",
    good: "#5fd08f",
    warn: "#e5b454",
    bad: "#ff8a80",
  },
};

function variables(mode: "light" | "dark"): string {
  return Object.entries(palette[mode])
    .map(([name, colour]) => `--${name}:${colour};`)
    .join("");
}

export const stylesheet: string = `
:root{color-scheme:light dark;${variables("light")}}
@media (prefers-color-scheme:dark){:root{${variables("dark")}}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.25rem 1rem 4rem;max-width:68rem;background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0 .25rem}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem;display:flex;flex-wrap:wrap;gap:.2rem .6rem;align-items:baseline}
h3{font-size:1rem;margin:0 0 .4rem}
h1 small,h2 small{font-weight:400;color:var(--ink-soft);font-size:.75em}
p{margin:.4rem 0;max-width:60rem}
.soft,figcaption,caption{color:var(--ink-soft)}
figcaption,caption{font-size:.875rem;text-align:left}
caption{padding:.75rem 0 .25rem}
.lead{font-size:1.1rem}
.verdict{display:inline-flex;margin-top:1rem;padding:.3rem .9rem;border-radius:.5rem;border:2px solid currentColor;font-size:1.3rem;text-transform:capitalize}
.verdict.passed,.chip.passed,.gates .passed .sign{color:var(--good)}
.verdict.failed,.chip.failed,.gates .failed .sign{color:var(--bad)}
.verdict.not-judged{color:var(--ink-soft)}
.chip.degraded,.gates .degraded .sign{color:var(--warn)}
.chip{display:inline-block;border:1px solid currentColor;border-radius:1rem;padding:0 .6rem;font-size:.85rem;font-weight:600;white-space:nowrap}
.failures{border-left:4px solid var(--bad);padding:.25rem 0 .25rem 1.75rem;margin:.75rem 0}
.gates{list-style:none;padding:0}
.gates li{display:flex;gap:.6rem;padding:.15rem 0}
.sign{font-weight:700;width:1ch;flex:none}
.diagnosis{text-transform:capitalize}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem;margin:.75rem 0;align-items:start}
figure,.cards>div{margin:0;padding:1rem;background:var(--card);border-radius:.75rem;min-width:0}
.drawing svg{display:block;width:100%;max-width:30rem;height:auto;margin:0 auto}
details{margin:.5rem 0}
summary{cursor:pointer;padding:.25rem 0}
summary:focus-visible,.scroll:focus-visible{outline:2px solid var(--candidate);outline-offset:2px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.875rem}
.pairs{width:100%}
.wide{margin-inline:max(-14rem,min(0rem,(71rem - 100vw)/2))}
.wide table{width:100%;font-size:.78rem}
.wide th,.wide td{padding:.35rem .3rem}
th,td{padding:.4rem .6rem;text-align:right;vertical-align:top;border-bottom:1px solid var(--grid)}
.scroll th,.scroll td{white-space:nowrap}
.wide th,.wide td{white-space:normal;overflow-wrap:normal}
.wide th[scope=row]{overflow-wrap:anywhere;min-width:5rem}
th:first-child,td:first-child,.pairs th[scope=row]{text-align:left}
th[scope=row]{font-weight:600}
thead th{color:var(--ink-soft);font-weight:600}
td small,th small{display:block;color:var(--ink-soft);font-weight:400}
.pairs th[scope=row]{font-weight:400;min-width:5rem}
.pairs td,thead th{overflow-wrap:normal}
dl{display:grid;grid-template-columns:minmax(6rem,max-content) 1fr;gap:.15rem 1rem;margin:0;font-size:.875rem}
dt{color:var(--ink-soft)}dd{margin:0;min-width:0}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.85em}
pre{overflow-x:auto;white-space:pre-wrap}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@page wide{size:landscape}
@media print{.wide thead th{overflow-wrap:anywhere}details>*{display:block}.scroll{overflow:visible}.scroll th,.scroll td{white-space:normal}.wide{margin-inline:0;page:wide}.wide table{font-size:.6rem}.wide th,.wide td{padding:.2rem}thead{display:table-header-group}tr,figure{break-inside:avoid}pre{overflow:visible}}
`;
