// The secret of the link is in its fragment. It goes into the field, which nobody needs to
// see then, and out of the address.
const secret = location.hash.slice(1);
if (secret) {
  document.getElementById("secret").value = secret;
  document.getElementById("setup-secret").hidden = true;
  history.replaceState(null, "", location.pathname);
  document.getElementById("name").focus();
}
