"use strict";

for (const figure of document.querySelectorAll(".example")) {
  const compare = figure.querySelector(".compare");
  const slider = figure.querySelector("input");
  const show = () => compare.style.setProperty("--at", `${slider.value}%`);
  slider.addEventListener("input", show);
  show();

  // The right picture is the result, or the ground truth while the button is pressed.
  const button = figure.querySelector("button");
  const [image, label] = [figure.querySelector("img + img"), figure.querySelector("span + span")];
  button?.addEventListener("click", () => {
    [image.src, button.value] = [button.value, image.src];
    [label.textContent, button.textContent] = [button.textContent, label.textContent];
  });
}
