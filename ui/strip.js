// A row of buttons that are always there. Each press is numbered and added to a list, so that however fast they come, and
// however long the page takes to answer, none is lost and their order is kept.
const KEPT = 100;

export default function ({ parentElement, data, setStateValue }) {
  const row = parentElement.querySelector(".row");
  row.say = setStateValue;
  row.presses ??= [];
  for (const b of data.buttons) {
    let button = row.querySelector(`[data-do="${b.do}"]`);
    if (!button) {
      button = document.createElement("button");
      button.type = "button";
      button.dataset.do = b.do;
      button.innerHTML = '<svg viewBox="0 0 24 24" aria-hidden="true"><path/></svg><span></span>';
      button.querySelector("path").setAttribute("d", b.icon);
      button.addEventListener("click", () => {
        const last = row.presses.at(-1)?.n ?? 0;
        row.presses = [...row.presses, { n: Math.max(Date.now(), last + 1), do: b.do }].slice(-KEPT);
        row.say("presses", row.presses);
      });
      let group = row.querySelector(`[data-group="${b.group}"]`);
      if (!group) {
        group = document.createElement("div");
        group.dataset.group = b.group;
        group.setAttribute("role", "group");
        if (b.group) group.append(Object.assign(document.createElement("i"), { textContent: b.group }));
        row.append(group);
      }
      group.append(button);
    }
    button.disabled = !b.enabled;
    button.title = b.help;
    button.classList.toggle("on", b.on);
    button.classList.toggle("primary", b.primary);
    button.querySelector("span").textContent = b.label;
    button.setAttribute("aria-label", b.group ? `${b.group} ${b.label}` : b.label);
  }
}
