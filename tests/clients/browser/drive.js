// Opens the page in a browser of its own and calls it:
//   node drive.js PACKAGES CHROMIUM PROFILE PAGE SETTINGS
// Prints what the page answers as JSON.
import { createRequire } from "node:module";
import { join } from "node:path";

const [packages, executablePath, profile, page, settings] = process.argv.slice(2);
const { chromium } = createRequire(join(packages, "any.js"))("playwright-core");

const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const tab = await context.newPage();
  tab.on("console", (message) => console.error(message.text()));
  await tab.goto(page);
  const seen = await tab.evaluate((given) => window.run(given), JSON.parse(settings));
  console.log(JSON.stringify(seen));
} finally {
  await context.close();
}
