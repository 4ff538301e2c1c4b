// The summary of a run, as an HTML page and as lines of text.

const REQUESTS = 'http_req_duration{part:load}';

function round(number) {
  return number >= 100 ? number.toFixed(0) : number.toFixed(2);
}

/** Returns every threshold with its result: [{ metric, rule, ok }]. In k6 a threshold without a measurement holds; here it does not. */
function thresholds(data) {
  const measured = data.metrics[REQUESTS].values.count > 0;
  return Object.entries(data.metrics).flatMap(([metric, { thresholds: rules }]) =>
    Object.entries(rules || {}).map(([rule, { ok }]) => ({ metric, rule, ok: ok && measured })));
}

/** Returns the figures of a run: [[name, value]]. */
function figures(data) {
  const times = data.metrics[REQUESTS].values;
  const count = (metric, field = 'count') => (data.metrics[metric] ? data.metrics[metric].values[field] : 0);
  return [
    ['requests', `${count('http_reqs')} (${round(count('http_reqs', 'rate'))} a second)`],
    ['orders accepted', `${count('orders_accepted')} (${round(count('orders_accepted', 'rate'))} a second)`],
    ['users at most', count('vus_max', 'max')],
    ['median', `${round(times.med)} ms`],
    ['P95', `${round(times['p(95)'])} ms`],
    ['P99', `${round(times['p(99)'])} ms`],
    ['slowest', `${round(times.max)} ms`],
    ['failed requests', `${(100 * count('http_req_failed', 'rate')).toFixed(3)} %`],
    ['checks that held', `${(100 * count('checks', 'rate')).toFixed(3)} %`],
  ];
}

function checks(group) {
  return [...group.checks, ...group.groups.flatMap(checks)];
}

/** Returns the run as lines of text. */
export function text(data, run) {
  const lines = figures(data).map(([what, value]) => `  ${what.padEnd(18)} ${value}`);
  const missed = checks(data.root_group).filter((c) => c.fails > 0).map((c) => `  ✗ ${c.name}: ${c.fails} of ${c.fails + c.passes} times not`);
  const rules = thresholds(data).map(({ metric, rule, ok }) => `  ${ok ? '✓' : '✗'} ${metric} ${rule}`);
  return [`${run.base}, ${run.shape}`, ...lines, ...missed, ...rules, ''].join('\n');
}

function escape(value) {
  return String(value).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/"/g, '&quot;');
}

function rows(cells) {
  return cells.map((row) => `<tr>${row.map((cell) => `<td>${escape(cell)}</td>`).join('')}</tr>`).join('\n');
}

/** Returns the run as a page without further files. */
export function html(data, run) {
  const rules = thresholds(data);
  const verdict = rules.every(({ ok }) => ok) ? 'All thresholds held' : 'Not all thresholds held';
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Load test: ${escape(run.base)}</title>
<style>
 body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; color: #1b2a33 }
 table { border-collapse: collapse; width: 100%; margin-bottom: 2rem }
 td { border-bottom: 1px solid #d5dde2; padding: .3rem .6rem .3rem 0 }
 h1 { font-size: 1.6rem } h2 { font-size: 1.1rem }
</style>
<h1>${verdict}</h1>
<p>${escape(run.base)}, shape “${escape(run.shape)}”: ${escape(run.parts.map((p) => `${p.name} ${p.seconds} s to ${p.users} users`).join(', '))}.</p>
<h2>Figures</h2><table>${rows(figures(data))}</table>
<h2>Thresholds</h2><table>${rows(rules.map(({ metric, rule, ok }) => [ok ? '✓' : '✗', metric, rule]))}</table>
<h2>Checks</h2><table>${rows(checks(data.root_group).map((c) => [c.fails ? '✗' : '✓', c.name, `${c.passes} of ${c.passes + c.fails}`]))}</table>
</html>
`;
}
