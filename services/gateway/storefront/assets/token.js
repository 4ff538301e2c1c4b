// The token of a link in a mail.

/** Takes the token from behind the `#` of the address, where no server sees it, and out of the browser's history. */
export function takeToken() {
  const token = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  return token;
}

// Another link that is opened in the same tab changes the part behind the `#` alone.
addEventListener("hashchange", () => location.reload());
