// Asks the browser's authenticator for a passkey, and sends what it says with the form. Nothing else on these pages is a
// script: a form that needs one stays hidden without it.
"use strict";

const TRANSPORTS = ["ble", "hybrid", "internal", "nfc", "smart-card", "usb"];

const bytes = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));

const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

async function create(options) {
  options.user.id = bytes(options.user.id);
  const made = await navigator.credentials.create({ publicKey: options });
  const transports = made.response.getTransports?.() ?? [];
  return {
    attestationObject: text(made.response.attestationObject),
    authenticatorAttachment: made.authenticatorAttachment ?? null,
    clientDataJSON: text(made.response.clientDataJSON),
    clientExtensionResults: {},
    transports: transports.filter((transport) => TRANSPORTS.includes(transport)),
    type: "public-key",
  };
}

async function get(options) {
  const shown = await navigator.credentials.get({ publicKey: options });
  return {
    authenticatorAttachment: shown.authenticatorAttachment ?? null,
    authenticatorData: text(shown.response.authenticatorData),
    clientDataJSON: text(shown.response.clientDataJSON),
    clientExtensionResults: {},
    id: shown.id,
    signature: text(shown.response.signature),
    type: "public-key",
    userHandle: text(shown.response.userHandle),
  };
}

function ask(form) {
  const options = JSON.parse(form.dataset.options);
  options.challenge = bytes(options.challenge);
  for (const credential of options.excludeCredentials ?? []) credential.id = bytes(credential.id);
  return form.dataset.passkey === "create" ? create(options) : get(options);
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  const trouble = form.querySelector("[role=alert]");
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    trouble.textContent = "";
    try {
      form.elements.answer.value = JSON.stringify(await ask(form));
    } catch (error) {
      // Most often the person has changed their mind, or let the time go by.
      const known = error.name === "InvalidStateError";
      trouble.textContent = known ? "This device has a passkey of this account already." : "No passkey was used. Try again.";
      return;
    }
    form.submit();
  });
}
