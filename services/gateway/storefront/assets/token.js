// The token of a link in a mail.

/** Returns the token after the `#` of the address, which is not sent to servers. Removes it from the browser's history. */
export function takeToken() {
  const token = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  return token;
}

// If another link is opened in the same tab, only the part after the `#` changes.
addEventListener("hashchange", () => location.reload());
