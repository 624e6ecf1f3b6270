
// ---- The page of the report: the strip of a prompt is drawn when it is opened ----

const stripOfRow = JSON.parse(document.getElementById("data").textContent);

for (const details of document.querySelectorAll("details[data-strip]")) {
  details.addEventListener("toggle", () => {
    const strip = stripOfRow[details.dataset.strip];
    const place = details.querySelector(".strip-place");
    if (!details.open || !strip || place.childElementCount > 0) return;
    updateStrip(place, { ...strip, selected: null }, () => {});
  });
}
