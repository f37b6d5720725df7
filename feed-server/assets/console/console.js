// Keeps parts of a page up to date. Everything works without it: then a page is as it was when it was loaded.
"use strict";
(() => {
  const BY_ITSELF = { "posture-feed-live": "1" };
  const BUSY_MS = 1000;
  const IDLE_MS = 10000;

  const says = document.getElementById("says");

  // What is read out; the same sentence once.
  const say = (text) => {
    if (says && text && says.textContent !== text) says.textContent = text;
  };

  const logIn = () => location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);

  // Puts new content in place of the old, so that whoever reads or types loses nothing: neither the focus, nor what they opened,
  // nor how far they scrolled.
  const swap = (region, content) => {
    const focused = region.contains(document.activeElement) ? document.activeElement.id : "";
    const open = new Map([...region.querySelectorAll("details[id]")].map((it) => [it.id, it.open]));
    const left = [...region.querySelectorAll(".wide")].map((it) => it.scrollLeft);
    region.innerHTML = content;
    for (const [id, wasOpen] of open) {
      const details = document.getElementById(id);
      if (details) details.open = wasOpen;
    }
    region.querySelectorAll(".wide").forEach((it, at) => { it.scrollLeft = left[at] || 0; });
    if (focused) (document.getElementById(focused) || document.getElementById("main"))?.focus({ preventScroll: true });
  };

  // Somebody marks text in there to copy it.
  const isMarked = (region) => {
    const selection = getSelection();
    return selection && !selection.isCollapsed && region.contains(selection.anchorNode);
  };

  // Somebody types in there, or has chosen something that is not sent yet.
  const isFilled = (region) => [...region.querySelectorAll("input:not([type=hidden]), select, textarea")].some((it) =>
    (it.type === "checkbox" || it.type === "radio") ? it.checked !== it.defaultChecked : "defaultValue" in it && it.value !== it.defaultValue);

  const regions = [...document.querySelectorAll("[data-live]")].map((region) => {
    let timer = 0;
    let known = null;
    const look = async () => {
      clearTimeout(timer);
      if (document.hidden) return;
      try {
        const answer = await fetch(region.dataset.live, { headers: BY_ITSELF, cache: "no-store", redirect: "error" });
        if (answer.status === 401) return logIn();
        if (!answer.ok) throw new Error(`status ${answer.status}`);
        const content = await answer.text();
        region.classList.remove("stale");
        if (content !== known && !isMarked(region) && !isFilled(region)) {
          const said = region.firstElementChild?.dataset.says;
          swap(region, content);
          const saying = region.firstElementChild?.dataset.says;
          if (saying !== said) say(saying);
          known = content;
        }
      } catch {
        region.classList.add("stale");
        say("The server does not answer; what is shown may be old.");
      }
      const isBusy = region.firstElementChild?.hasAttribute("data-busy");
      timer = setTimeout(look, isBusy ? BUSY_MS : IDLE_MS);
    };
    timer = setTimeout(look, region.firstElementChild?.hasAttribute("data-busy") ? BUSY_MS : IDLE_MS);
    return { look };
  });
  const lookAll = () => Promise.all(regions.map((region) => region.look()));
  document.addEventListener("visibilitychange", () => { if (!document.hidden) lookAll(); });

  // What keeps an act from being done, where it was asked for.
  const complain = (form, sentence) => {
    let note = form.querySelector("[role=alert]");
    if (!note) {
      note = document.createElement("p");
      note.setAttribute("role", "alert");
      note.className = "note bad";
      form.append(note);
    }
    note.textContent = sentence;
  };

  // Forms that leave the page where it is, for what they do shows on it.
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || !form.hasAttribute("data-quiet")) return;
    event.preventDefault();
    const button = event.submitter;
    if (button) button.disabled = true;
    try {
      const body = new URLSearchParams(new FormData(form, button));
      const answer = await fetch(form.action, { method: "POST", body, headers: BY_ITSELF, redirect: "error" });
      if (answer.status === 401) return logIn();
      if (answer.ok) {
        form.reset();
        await lookAll();
      } else {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        complain(form, page.getElementById("problem")?.textContent || `The server answered with status ${answer.status}.`);
      }
    } catch {
      complain(form, "The server does not answer; nothing is known of what was asked for.");
    }
    if (button) button.disabled = false;
  });

  // Forms with a file: it may be dropped on them, and how much of it is sent is shown. What comes back is the next page.
  const send = (form) => {
    const file = form.querySelector("input[type=file]").files[0];
    const most = Number(form.dataset.most);
    if (file && most && file.size > most) {
      return complain(form, `The zip has ${file.size} bytes, and ${most} are taken; if it is genuine, raise [bundles] max_upload.`);
    }
    const button = form.querySelector("button");
    button.disabled = true;
    form.querySelector("[role=alert]")?.remove();
    const bar = document.createElement("progress");
    bar.setAttribute("aria-label", "Sent");
    form.append(bar);
    say("The zip is being sent.");
    const request = new XMLHttpRequest();
    const end = (sentence) => {
      bar.remove();
      button.disabled = false;
      complain(form, sentence);
    };
    request.upload.addEventListener("progress", (event) => {
      if (!event.lengthComputable) return;
      bar.max = event.total;
      bar.value = event.loaded;
    });
    // Everything is there, and is being looked at.
    request.upload.addEventListener("load", () => { bar.removeAttribute("value"); say("The zip is being looked at."); });
    request.addEventListener("load", () => {
      if (request.status < 300) return location.assign(request.responseURL);
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      end(page.getElementById("problem")?.textContent || `The server answered with status ${request.status}.`);
    });
    request.addEventListener("error", () => end("The upload broke off. Where that happens again, the zip may be larger than is taken, or not for this server."));
    request.open("POST", form.action);
    request.send(new FormData(form));
  };
  for (const form of document.querySelectorAll("form[data-upload]")) {
    const input = form.querySelector("input[type=file]");
    const place = form.querySelector(".drop");
    form.addEventListener("submit", (event) => { event.preventDefault(); send(form); });
    for (const name of ["dragenter", "dragover"]) {
      place.addEventListener(name, (event) => { event.preventDefault(); place.classList.add("over"); });
    }
    for (const name of ["dragleave", "drop"]) place.addEventListener(name, () => place.classList.remove("over"));
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files.length !== 1) return complain(form, "Drop one file, a zip.");
      input.files = event.dataTransfer.files;
      form.requestSubmit();
    });
  }

  const insecure = document.getElementById("insecure");
  if (insecure) insecure.hidden = isSecureContext;

  // A browser keeps the session's cookie back where another site, such as a mail, led it here. This page may ask for itself.
  if (document.querySelector("[data-log-in]")) {
    fetch("/login/state", { headers: BY_ITSELF, cache: "no-store" })
      .then((answer) => answer.text())
      .then((state) => { if (state === "in") location.replace(location.href); })
      .catch(() => {});
  }
})();
