// The secret of the link is in its fragment, which browsers do not send.
const secret = location.hash.slice(1);
if (secret) {
  document.getElementById("secret").value = secret;
  history.replaceState(null, "", location.pathname);
  document.getElementById("enter").requestSubmit();
}
