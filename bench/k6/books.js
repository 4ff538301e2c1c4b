// What the platform says of its own books: orders in SQL, orders counted by the stream job.
import http from 'k6/http';

/**
 * Orders stored and orders counted so far, by the audit; by the summary, which knows only what was counted, where a
 * platform has no audit.
 */
export function books(api) {
  const params = { tags: { part: 'books' }, responseCallback: http.expectedStatuses(200, 404) };
  const audit = http.get(`${api}/analytics/audit`, params);
  if (audit.status === 200) {
    return { source: 'audit', stored: audit.json('stored'), counted: audit.json('counted') };
  }
  const summary = http.get(`${api}/analytics/summary`, params);
  return { source: 'summary', stored: null, counted: summary.json('last_day.orders') || 0 };
}
