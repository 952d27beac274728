/**
 * The script of the status page: takes what the broker sends, and counts.
 *
 * The broker sends the body as it would serve it, escaped, so nothing is put
 * together here. Times come as `<time data-at data-as>` and are shown by the
 * reader's own clock and zone, with the difference between the two clocks taken
 * off.
 *
 * @module
 */

/** JavaScript for a browser. */
export const PAGE_SCRIPT = `
"use strict";
const body = document.getElementById("status");
const link = document.getElementById("link");
let ahead = 0;

function two(number) { return String(number).padStart(2, "0"); }
function age(ms) {
  const s = Math.floor(Math.max(0, ms) / 1000);
  const m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
  if (m < 1) return s + " s";
  if (h < 1) return m + " min";
  if (d < 1) return h + " h " + two(m % 60) + " min";
  return d + " d " + h % 24 + " h";
}
function clock(at) {
  const then = new Date(at);
  const time = two(then.getHours()) + ":" + two(then.getMinutes());
  if (then.toDateString() === new Date().toDateString()) return time;
  return then.getFullYear() + "-" + two(then.getMonth() + 1) + "-" +
    two(then.getDate()) + " " + time;
}
function count() {
  const now = Date.now() - ahead;
  for (const time of document.querySelectorAll("time")) {
    const at = Number(time.dataset.at);
    const text = time.dataset.as === "age" ? age(now - at) : clock(at);
    if (time.textContent !== text) time.textContent = text;
  }
}
function take(at, html) {
  ahead = Date.now() - at;
  body.innerHTML = html;
  const title = body.firstElementChild && body.firstElementChild.dataset.title;
  if (title) document.title = title;
  count();
}
ahead = Date.now() - Number(body.dataset.at);
count();
setInterval(count, 1000);

const token = new URLSearchParams(location.search).get("token");
const query = new URLSearchParams({ as: "html" });
if (token !== null) query.set("token", token);
const events = new EventSource("api/events?" + query);
events.addEventListener("status", ({ data }) => {
  const { at, html } = JSON.parse(data);
  take(at, html);
});
events.onopen = () => {
  link.textContent = "live";
  link.className = "";
};
events.onerror = () => {
  link.textContent = "no connection to the broker: what is shown here is old";
  link.className = "lost";
};
`;
