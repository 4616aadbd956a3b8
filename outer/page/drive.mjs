// Opens the page of a running proxy in Chromium, and says what a reader sees: for the outer tests.
//
//   node drive.mjs <settings.json>
//
// Settings: tools (the folder with node_modules), chromium (the program), base (http://host:port of the proxy), named (the
// same by a name that is not this machine's, which browsers give no clipboard), image (one that the proxy serves),
// admin (base, username and password of a proxy whose administration page they open, an image that it has, and a blob that
// it is fetching all the time), screenshots
// (a folder, or null). Prints one line of JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const require = createRequire(join(settings.tools, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
  executablePath: settings.chromium,
  // The tests run as root, for which Chromium has no sandbox.
  args: ["--no-sandbox", `--host-resolver-rules=MAP ${new URL(settings.named).hostname} 127.0.0.1`],
});

/// Every request that any page made, and everything it complained of.
const requests = new Set();
const complaints = [];

async function open(options, path, base = settings.base) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("request", (request) => {
    if (!request.url().startsWith("data:")) requests.add(new URL(request.url()).origin);
  });
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.goto(base + path);
  return page;
}

/// What axe-core finds, and whether the reader must scroll sideways.
async function look(page) {
  // The page's policy lets no other script in, so this one comes in by the debugger.
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  return {
    violations: found.violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(" | ")}`),
    passes: found.passes.length,
    is_wide: width[0] > width[1],
  };
}

const views = [];
for (const [locale, theme, width] of [
  ["en-US", "light", 1280], ["en-US", "dark", 320], ["zh-CN", "dark", 1280], ["zh-CN", "light", 320],
]) {
  const viewport = { width, height: 800 };
  const page = await open({ locale, colorScheme: theme, viewport }, `/?image=${settings.image}`);
  const seen = await look(page);
  const tabs = [];
  for (const label of await page.locator(".tabs > label").all()) {
    await label.click();
    const after = await look(page);
    tabs.push({ violations: after.violations, is_wide: after.is_wide });
  }
  await page.locator(".tabs > label").first().click();
  await page.evaluate(() => scrollTo(0, 0));
  if (settings.screenshots) {
    await page.screenshot({ path: join(settings.screenshots, `page-${locale}-${theme}-${width}.png`) });
  }
  const language = await page.locator("html").getAttribute("lang");
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const broken = await open({ locale, colorScheme: theme, viewport }, "/?image=%3Cb%3E");
  views.push({ locale, theme, width, language, background, tabs, ...seen, fault: await look(broken) });
}

/// Types an image and copies what comes, with the keyboard alone.
const keyboard = { stops: [] };
{
  const page = await open({ permissions: ["clipboard-read", "clipboard-write"] }, "/");
  const stop = async () => {
    const at = await page.evaluate(() => {
      const it = document.activeElement;
      const shown = it.type === "radio" ? it.nextElementSibling : it;
      return { what: it.id || it.className || it.tagName, outline: getComputedStyle(shown).outlineStyle };
    });
    keyboard.stops.push(at);
    return at.what;
  };
  const tab_to = async (what) => {
    for (let presses = 0; presses < 40; presses += 1) {
      await page.keyboard.press("Tab");
      if ((await stop()) === what) return;
    }
    throw new Error(`the Tab key does not lead to ${what}`);
  };
  await tab_to("image");
  await page.keyboard.type(settings.image);
  await page.keyboard.press("Enter");
  await page.waitForURL(/image=/);
  await tab_to("copy");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("status").textContent !== "");
  keyboard.said = await page.locator("#status").textContent();
  keyboard.copied = await page.evaluate(() => navigator.clipboard.readText());
  await tab_to("docker");
  await page.keyboard.press("ArrowRight");
  await stop();
  keyboard.panels = await page.locator(".panel:visible").evaluateAll((all) => all.map((it) => it.ariaLabel));
}

/// The same lines, by the mouse, where there is no clipboard but the old way.
const plain = {};
{
  const page = await open({}, `/?image=${settings.image}`, settings.named);
  plain.is_secure = await page.evaluate(() => isSecureContext);
  await page.locator("dd .copy").nth(1).click();
  await page.waitForFunction(() => document.getElementById("status").textContent !== "");
  plain.shown = await page.locator("dd pre").nth(1).textContent();
  await page.locator("#image").fill("");
  await page.locator("#image").press("Control+V");
  plain.copied = await page.locator("#image").inputValue();
}

/// Without scripts.
const still = {};
{
  const page = await open({ javaScriptEnabled: false }, "/");
  still.buttons = await page.locator(".copy:visible").count();
  await page.locator("#image").fill(settings.image);
  await page.locator("button[type=submit]").click();
  still.commands = await page.locator("dd pre").allTextContents();
  await page.locator("label[for=podman]").click();
  still.panels = await page.locator(".panel:visible").evaluateAll((all) => all.map((it) => it.getAttribute("aria-label")));
  await page.locator("header a").click();
  still.language = await page.locator("html").getAttribute("lang");
  still.kept = await page.locator("#image").inputValue();
}

/// Names that are meant to break out, typed and in the address.
const hostile = [];
for (const text of [
  "<img src=x onerror=alert(1)>", "\"><script>alert(1)</script>", "ghcr.io/o/i:x' onfocus='alert(1)", "javascript:alert(1)",
]) {
  const page = await open({}, `/?image=${encodeURIComponent(text)}&client=${encodeURIComponent(text)}&lang=${encodeURIComponent(text)}`);
  await page.locator("#image").fill(text);
  await Promise.all([page.waitForEvent("load"), page.keyboard.press("Enter")]);
  hostile.push({
    elements: await page.locator("img, script, iframe, [onerror], [onfocus]").count(),
    fault: await page.locator("#fault").count(),
    value: await page.locator("#image").inputValue(),
  });
}

/// The administration page: every part of it in each language and theme, then a purge and a warming with the keyboard alone and
/// without scripts, and hostile names.
const admin = { parts: [], stops: [], hostile: 0 };
{
  const { base, username, password, image } = settings.admin;
  const httpCredentials = { username, password };
  for (const [locale, theme, width] of [
    ["en-US", "light", 1280], ["en-US", "dark", 320], ["zh-CN", "dark", 1280], ["zh-CN", "light", 320],
  ]) {
    for (const path of ["", "images", `explain?image=${image}`, `tags?image=${image}`, "images?purge=*", "warming"]) {
      const options = { locale, colorScheme: theme, viewport: { width, height: 800 }, httpCredentials };
      const page = await open(options, `/-/${path}`, base);
      for (const summary of await page.locator("summary").all()) await summary.click();
      const language = await page.locator("html").getAttribute("lang");
      const bars = await page.locator("progress").evaluateAll((all) => all.map((it) => ({
        part: it.value, whole: it.max, label: it.ariaLabel, width: it.getBoundingClientRect().width,
      })));
      admin.parts.push({ what: `${path} ${locale} ${theme} ${width}`, language, bars, ...(await look(page)) });
      if (settings.screenshots && path === "") {
        for (const summary of await page.locator("summary").all()) await summary.click();
        await page.evaluate(() => scrollTo(0, 0));
        await page.screenshot({ path: join(settings.screenshots, `admin-${locale}-${theme}-${width}.png`) });
      }
    }
  }
  const page = await open({ httpCredentials, javaScriptEnabled: false }, "/-/?lang=en", base);
  const tab_to = async (locator) => {
    for (let presses = 0; presses < 60; presses += 1) {
      await page.keyboard.press("Tab");
      const outline = await page.locator(":focus").evaluate((it) => getComputedStyle(it).outlineStyle);
      admin.stops.push(outline);
      if (await locator.evaluate((it) => it === document.activeElement)) return;
    }
    throw new Error("the Tab key does not lead there");
  };
  await tab_to(page.getByRole("link", { name: "Images", exact: true }));
  await Promise.all([page.waitForURL(/images/), page.keyboard.press("Enter")]);
  await tab_to(page.locator("#purge"));
  await page.keyboard.type(image);
  await Promise.all([page.waitForURL(/purge=/), page.keyboard.press("Enter")]);
  await tab_to(page.getByRole("button", { name: "Purge it now" }));
  await Promise.all([page.waitForURL(/-\/orders/), page.keyboard.press("Enter")]);
  admin.purged = await page.locator("main").innerText();
  await tab_to(page.getByRole("link", { name: "Warm", exact: true }));
  await Promise.all([page.waitForURL(/warming/), page.keyboard.press("Enter")]);
  await tab_to(page.locator("#images"));
  await page.keyboard.type(image);
  await tab_to(page.getByRole("button", { name: "Warm them" }));
  await Promise.all([page.waitForURL(/-\/orders/), page.keyboard.press("Enter")]);
  admin.asked = await page.locator("main").innerText();
  await tab_to(page.getByRole("link", { name: "How far it has come" }));
  await Promise.all([page.waitForURL(/warming/), page.keyboard.press("Enter")]);
  // The server is fetching it meanwhile; each look is a request.
  for (let looks = 0; looks < 200; looks += 1) {
    admin.warmed = await page.locator("main").innerText();
    if (admin.warmed.includes("Last results")) break;
    await page.reload();
  }
  const text = "<img src=x onerror=alert(1)><script>alert(1)</script>";
  for (const path of ["explain?image=", "tags?image=", "images?purge="]) {
    const hostile = await open({ httpCredentials }, `/-/${path}${encodeURIComponent(text)}`, base);
    admin.hostile += await hostile.locator("img, script, iframe, [onerror]").count();
    if (!(await hostile.locator("input[type=text]").first().inputValue()).includes("onerror")) admin.hostile += 1;
  }
}

await browser.close();
console.log(JSON.stringify({ views, keyboard, plain, still, hostile, admin, requests: [...requests], complaints }));
