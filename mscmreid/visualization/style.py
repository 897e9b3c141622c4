"""The look of a report: one style sheet for light and dark screens and for paper."""

CSS = """
:root {
  --paper: #fbfaf7; --card: #ffffff; --ink: #1d2129; --soft: #5b6472; --line: #dedbd3; --faint: #efece5;
  --same: #0a6a9f; --different: #c4561a; --right: #067a5b; --wrong: #b8480b; --heat: #0a5f8f; --on-heat: #ffffff;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "Source Serif 4", Georgia, "DejaVu Serif", serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171b; --card: #1c1f25; --ink: #e7e5df; --soft: #a2a9b4; --line: #353a43; --faint: #262a31;
    --same: #58b6e7; --different: #f0935a; --right: #3ec49b; --wrong: #f08a4b; --heat: #4fa8d8; --on-heat: #0d1216;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 3.2rem 2rem 5rem; max-width: 1160px; background: var(--paper); color: var(--ink);
  font: 15px/1.55 var(--sans); font-variant-numeric: tabular-nums;
}
h1, h2 { font-family: var(--serif); font-weight: 600; letter-spacing: -0.01em; line-height: 1.2; margin: 0; }
h1 { font-size: 2.3rem; }
h2 { font-size: 1.6rem; }
h3 { font-size: 1.05rem; font-weight: 650; margin: 0 0 0.15rem; }
p { margin: 0.2rem 0 0.8rem; }
.kicker { color: var(--soft); font-size: 0.8rem; letter-spacing: 0.08em; text-transform: uppercase;
  margin: 0 0 0.3rem; }
.lead { color: var(--soft); max-width: 46rem; margin-top: 0.6rem; }
.note { color: var(--soft); font-size: 0.86rem; max-width: 60rem; }
header { padding-bottom: 1.6rem; }
section { margin-top: 2.2rem; break-inside: avoid; }
article { margin-top: 4rem; padding-top: 1.8rem; border-top: 2px solid var(--ink); }
nav { margin-top: 1rem; font-size: 0.9rem; display: flex; flex-wrap: wrap; gap: 0.3rem 1.4rem; }
a { color: var(--same); text-underline-offset: 0.2em; }
.numbers { display: flex; flex-wrap: wrap; gap: 0.6rem 3rem; margin: 1.3rem 0 0; }
.number b { display: block; font: 600 2.5rem/1.1 var(--serif); letter-spacing: -0.02em; }
.number span { color: var(--soft); font-size: 0.86rem; }
.number small { font: 400 1rem var(--sans); color: var(--soft); letter-spacing: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { padding: 0.42rem 0.7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); font-size: 0.8rem; border-bottom-color: var(--ink); }
th.text, td.text { text-align: left; }
td.text:nth-child(2) { white-space: normal; }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
td small { color: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 0 2rem; margin: 0.5rem 0 0; }
dl div { border-top: 1px solid var(--line); padding: 0.38rem 0 0.45rem; }
dt { color: var(--soft); font-size: 0.76rem; }
dd { margin: 0; font-size: 0.9rem; overflow-wrap: anywhere; }
details { margin-top: 1rem; font-size: 0.9rem; }
summary { cursor: pointer; color: var(--soft); }
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 2.2rem 3rem; margin-top: 2.2rem; }
.pair section { margin-top: 0; display: flex; flex-direction: column; }
.pair svg.chart { margin-top: auto; }
@media (max-width: 860px) { .pair { grid-template-columns: 1fr; } body { padding: 2rem 1.1rem 3rem; } }
svg.chart { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-family: var(--sans); font-size: 12px; fill: var(--ink); }
svg .tick { fill: var(--soft); }
svg .axis-title { fill: var(--soft); font-size: 12px; }
svg .value { font-size: 12px; font-weight: 600; paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }
svg .key { font-weight: 600; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .axis { stroke: var(--soft); stroke-width: 1; }
svg .line { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
svg .line.thin { stroke-width: 1.4; }
svg .line.same { stroke: var(--same); } svg .line.different { stroke: var(--different); }
svg .dot.same { fill: var(--same); stroke: var(--paper); stroke-width: 1.5; }
svg .band { fill: var(--same); fill-opacity: 0.18; }
svg .area { fill-opacity: 0.22; }
svg .area.same { fill: var(--same); } svg .area.different { fill: var(--different); }
svg .key.same { fill: var(--same); } svg .key.different { fill: var(--different); }
svg .mean { stroke-width: 1.3; stroke-dasharray: 4 3; }
svg .mean.same { stroke: var(--same); } svg .mean.different { stroke: var(--different); }
svg .head { font-size: 13px; }
svg .cell { fill: var(--heat); }
svg .empty { fill: none; stroke: var(--line); stroke-dasharray: 3 3; }
svg .cell-value { font-size: 17px; font-weight: 600; }
svg .cell-note { font-size: 11px; }
svg .on-dark { fill: var(--on-heat); }
.strip { display: grid; grid-template-columns: minmax(0, 1fr) 14px repeat(var(--top), minmax(0, 1fr)); gap: 6px;
  margin-top: 0.9rem; break-inside: avoid; }
.strip > .tile:first-child { grid-column: 1; }
.strip > .tile:nth-child(2) { grid-column: 3; }
.tile { margin: 0; min-width: 0; }
.tile .frame { position: relative; border: 3px solid var(--line); border-radius: 3px; background: var(--faint);
  aspect-ratio: 1 / 2; overflow: hidden; display: grid; place-items: center; }
.tile .blank { aspect-ratio: 1; }
.tile.right .frame { border-color: var(--right); }
.tile.wrong .frame { border-color: var(--wrong); border-style: dashed; }
.tile img { display: block; width: 100%; height: 100%; object-fit: contain; }
.tile .who { font: 600 1.05rem var(--serif); color: var(--soft); text-align: center; }
.tile .mark { position: absolute; top: 0; right: 0; width: 1.15rem; height: 1.15rem; line-height: 1.15rem;
  font-size: 0.75rem; font-weight: 700; text-align: center; color: var(--card); }
.tile.right .mark { background: var(--right); } .tile.wrong .mark { background: var(--wrong); }
figcaption { font-size: 0.7rem; line-height: 1.3; color: var(--soft); padding-top: 3px; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 1.4rem 2rem;
  margin-top: 1rem; }
.card { break-inside: avoid; }
.card .three { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 6px; }
.card p { font-size: 0.8rem; color: var(--soft); margin: 0.35rem 0 0; overflow-wrap: anywhere; }
footer { margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft);
  font-size: 0.82rem; }
@page { margin: 14mm 12mm; }
@media print {
  :root { --paper: #ffffff; --card: #ffffff; --ink: #111111; --soft: #555555; --line: #cccccc; --faint: #f3f3f3;
    --same: #0a6a9f; --different: #c4561a; --right: #067a5b; --wrong: #b8480b; --heat: #0a5f8f; --on-heat: #ffffff; }
  html { color-scheme: light; font-size: 10.5px; }
  body { max-width: none; padding: 0; font-size: 1rem; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  article { break-before: page; margin-top: 0; border-top: none; }
  article:first-of-type { break-before: auto; margin-top: 1.5rem; }
  .pair { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.4rem 1.6rem; margin-top: 1.4rem; }
  .cards { grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 1rem 1.2rem; }
  .strip { gap: 3px; margin-top: 0.5rem; }
  .tile .frame { border-width: 2px; }
  dl { grid-template-columns: repeat(4, minmax(0, 1fr)); }
  .scroll { overflow: visible; }
  th, td { padding: 0.3rem 0.4rem; }
  nav, summary { display: none; }
  section { break-inside: auto; margin-top: 1.2rem; }
  .pair, .pair section, svg.chart, dl { break-inside: avoid; }
  h3, .note { break-after: avoid; }
}
"""
"""Style sheet; refers to nothing outside the file."""
