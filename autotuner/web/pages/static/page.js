// Makes pages live where scripts run; without them every page still works, by hand.
"use strict";
(() => {
  const two = (number) => String(number).padStart(2, "0");

  // Times in the reader's zone; the page has them in UTC, and its titles keep that.
  function localTimes(root) {
    const today = new Date().toDateString();
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
      const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
      time.textContent = at.toDateString() === today ? clock : `${day} ${clock}`;
    }
  }

  // Parts (elements with data-part and an id) are taken anew from the same page. A part in which
  // somebody has selected text is left alone; what has the focus keeps it.
  function busy(part) {
    const chosen = window.getSelection();
    return chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
  }

  function focusAgain(part, path) {
    const again = [...part.querySelectorAll("a[href]")].find((one) => one.getAttribute("href") === path);
    if (again) again.focus({ preventScroll: true });
  }

  const shown = new Map();
  function takeOver(fresh) {
    for (const part of document.querySelectorAll("[data-part]")) {
      const other = fresh.getElementById(part.id);
      if (!other || busy(part) || shown.get(part.id) === other.innerHTML) continue;
      shown.set(part.id, other.innerHTML);
      const inside = part.contains(document.activeElement);
      const path = inside ? document.activeElement.getAttribute("href") : null;
      const scrolled = [...part.querySelectorAll(".wide")].map((one) => one.scrollLeft);
      part.replaceChildren(...document.importNode(other, true).childNodes);
      [...part.querySelectorAll(".wide")].forEach((one, n) => { one.scrollLeft = scrolled[n] || 0; });
      localTimes(part);
      if (path) focusAgain(part, path);
    }
  }

  const link = document.getElementById("link");
  function tellLink(text) {
    if (link && link.textContent !== text) link.textContent = text;
  }

  async function refresh() {
    if (document.hidden || document.querySelector("dialog[open]")) return;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
      if (answer.redirected) {  // the login has ended
        location.assign(answer.url);
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
      tellLink("");
    } catch {
      tellLink("No answer from the daemon: this page may be old.");
    }
  }

  // The confirmation page of an action, as a dialog.
  async function confirmHere(event) {
    const asked = event.target.closest("a[data-confirm]");
    if (!asked || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    try {
      const answer = await fetch(asked.href, { credentials: "same-origin", cache: "no-store" });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const dialog = document.createElement("dialog");
      const asking = document.importNode(fresh.getElementById("confirm"), true);
      const title = asking.querySelector("h1");
      const heading = document.createElement("h2");
      heading.textContent = title.textContent;
      heading.id = "asked";
      title.replaceWith(heading);
      dialog.setAttribute("aria-labelledby", "asked");
      dialog.append(asking);
      asking.querySelector("a[data-back]").addEventListener("click", (back) => {
        back.preventDefault();
        dialog.close();
      });
      dialog.addEventListener("close", () => { dialog.remove(); asked.focus(); });
      document.body.append(dialog);
      dialog.showModal();
    } catch {
      location.assign(asked.href);
    }
  }

  for (const part of document.querySelectorAll("[data-part]")) shown.set(part.id, part.innerHTML);
  localTimes(document);
  document.addEventListener("click", confirmHere);
  const every = Number(document.body.dataset.every);
  if (every > 0) setInterval(refresh, 1000 * every);
})();
