/**
 * The look of the status page: one column on a telephone, two or three where
 * there is room; light and dark as the browser likes it.
 *
 * @module
 */

/** CSS. */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --ground: #f5f5f4; --card: #ffffff; --ink: #1c1917; --soft: #57534e;
  --line: #e7e5e4; --good: #15803d; --wait: #b45309; --bad: #b91c1c;
  --goodbg: #dcfce7; --waitbg: #fef3c7; --badbg: #fee2e2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14110f; --card: #211d1b; --ink: #f5f5f4; --soft: #a8a29e;
    --line: #3a3532; --good: #86efac; --wait: #fcd34d; --bad: #fca5a5;
    --goodbg: #14351f; --waitbg: #3d2c0a; --badbg: #451a1a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 76rem;
  background: var(--ground); color: var(--ink);
  font: 16px/1.45 system-ui, sans-serif;
}
header {
  display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline;
  margin-bottom: .75rem;
}
h1 { font-size: 1.1rem; margin: 0; }
h2 { font-size: .95rem; margin: 0 0 .6rem; color: var(--soft); }
.soft { color: var(--soft); }
.small { font-size: .85rem; }
.mono { font-family: ui-monospace, monospace; font-size: .85rem; }
.banner {
  margin: 0 0 1rem; padding: .9rem 1.1rem; border-radius: .6rem;
  font-size: 1.25rem; font-weight: 600; overflow-wrap: anywhere;
  border-left: .4rem solid;
}
.good { background: var(--goodbg); color: var(--good); }
.wait { background: var(--waitbg); color: var(--wait); }
.bad { background: var(--badbg); color: var(--bad); }
.cards {
  display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
}
section {
  background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; padding: .9rem 1.1rem; min-width: 0;
}
section.wide { grid-column: 1 / -1; }
section > p { margin: 0; }
.scroll + p { margin-top: .5rem; }
.socket { fill: #292524; stroke: var(--soft); stroke-width: 1; }
.devices {
  display: grid; gap: .75rem 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
}
.device { display: flex; gap: .8rem; min-width: 0; }
.device > div { min-width: 0; overflow-wrap: anywhere; }
.device svg { flex: none; margin-top: .15rem; }
.device p { margin: 0; }
.name { font-weight: 600; }
.tag {
  display: inline-block; border-radius: 1rem; padding: 0 .55rem;
  font-size: .8rem; font-weight: 600; white-space: nowrap;
}
.plain { background: var(--line); color: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th {
  text-align: left; font-weight: 500; color: var(--soft);
  font-size: .8rem; white-space: nowrap;
}
th, td { padding: .2rem .8rem .2rem 0; vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
tr + tr td { border-top: 1px solid var(--line); }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.text { overflow-wrap: anywhere; }
dl {
  display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem;
  margin: 0; font-size: .9rem;
}
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: 0; padding: 0; list-style: none; font-size: .9rem; }
li + li { border-top: 1px solid var(--line); margin-top: .4rem; padding-top: .4rem; }
li { overflow-wrap: anywhere; }
time { font-variant-numeric: tabular-nums; white-space: nowrap; }
footer { margin-top: 1rem; color: var(--soft); font-size: .85rem; }
.lost { color: var(--bad); font-weight: 600; }
`;
