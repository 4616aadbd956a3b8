(() => {
  "use strict";
  const status = document.getElementById("status");
  // Browsers have no clipboard for pages over plain HTTP. Where nothing copies, the lines stay selected.
  const select = (code) => {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  };
  for (const button of document.querySelectorAll("button.copy")) {
    const code = button.previousElementSibling.firstElementChild;
    const label = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      let isCopied = true;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        isCopied = select(code);
      }
      if (!isCopied) return;
      button.textContent = status.textContent = status.dataset.copied;
      setTimeout(() => {
        button.textContent = label;
        status.textContent = "";
      }, 2000);
    });
  }
})();
