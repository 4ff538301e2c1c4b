// Reads the number of stored orders, and the number of orders that the stream job has counted.
import http from 'k6/http';

import { as } from './accounts.js';

function params(token) {
  return { ...as(token), tags: { part: 'books', name: 'books' } };
}

/** Returns all items of a list, which it reads page by page. */
function all(address, token) {
  const items = [];
  let cursor = null;
  do {
    const page = http.get(`${address}${address.includes('?') ? '&' : '?'}limit=100${cursor ? `&cursor=${cursor}` : ''}`, params(token));
    if (page.status !== 200) {
      return items;
    }
    items.push(...page.json('items'));
    cursor = page.json('next');
  } while (cursor);
  return items;
}

/** Returns the number of stored orders of these customers. Each customer reads their own orders. */
export function stored(api, users) {
  return users.reduce((sum, user) => sum + all(`${api}/orders?user_id=${user.id}`, user.token).length, 0);
}

/** Returns the number of counted orders of these customers, over all windows. */
export function counted(api, users) {
  return users.reduce((sum, user) => sum + all(`${api}/analytics/users/${user.id}`, user.token).reduce((orders, w) => orders + w.order_count, 0), 0);
}

/** Returns the number of orders of the last day in the summary, of all customers. Null if the platform shows the summary to admins
 * only, and the caller is not one. */
export function summarized(api, token) {
  const summary = http.get(`${api}/analytics/summary`, params(token));
  if (!token && (summary.status === 401 || summary.status === 403)) {
    return null;
  }
  return summary.status === 200 ? summary.json('last_day.orders') : 0;
}
