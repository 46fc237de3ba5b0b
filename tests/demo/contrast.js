/** Runs in the page: what on the screen has too little contrast (WCAG 2.2, 1.4.3 and 1.4.11). */
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) =>
    [r, g, b].map((value, index) => value * a + under[index] * (1 - a));
  const ground = (element) => {
    if (element === null) return rgba(getComputedStyle(document.documentElement).backgroundColor);
    return over(rgba(getComputedStyle(element).backgroundColor), ground(element.parentElement));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const isShown = (element) => element.checkVisibility() && !element.closest(":disabled");

  const problems = [];
  const need = (least, color, under, element, what) => {
    const found = contrast(over(rgba(color), under), under);
    const name = element.id || element.className || element.tagName;
    if (found < least) problems.push(`${what} of ${name}: ${found.toFixed(2)}`);
  };
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!hasText || !isShown(element)) continue;
    need(4.5, getComputedStyle(element).color, ground(element), element, "text");
  }
  for (const element of document.querySelectorAll("input, button")) {
    const { borderTopColor: edge, borderTopWidth } = getComputedStyle(element);
    const isField = element.matches("input:not([type=checkbox])");
    if (isShown(element) && (isField || borderTopWidth !== "0px") && rgba(edge)[3] > 0) {
      need(3, edge, ground(element.parentElement), element, "border");
    }
    if (isField) {
      const { color } = getComputedStyle(element, "::placeholder");
      if (isShown(element)) need(4.5, color, ground(element), element, "placeholder");
    }
  }
  const former = document.activeElement;
  for (const element of document.querySelectorAll("button, input, [tabindex='0']")) {
    if (!isShown(element)) continue;
    element.focus({ focusVisible: true, preventScroll: true });
    const { outlineColor, outlineStyle, outlineWidth } = getComputedStyle(element);
    if (outlineStyle === "none" || parseFloat(outlineWidth) < 2) problems.push(`no ring: ${element.id}`);
    need(3, outlineColor, ground(element.parentElement), element, "ring");
  }
  former?.focus();
  return problems;
}
