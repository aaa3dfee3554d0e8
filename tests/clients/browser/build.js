// Generates the client from our protos and bundles the page:
//   node build.js PACKAGES BUF REPOSITORY OUT
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [packages, buf, repository, out] = process.argv.slice(2);
const require = createRequire(join(packages, "any.js"));
const here = dirname(fileURLToPath(import.meta.url));

const template = {
  version: "v2",
  plugins: [{ local: [join(packages, ".bin", "protoc-gen-es")], out: "gen", opt: ["target=js"] }],
};
execFileSync(buf, ["generate", "--template", JSON.stringify(template), "-o", out], {
  cwd: repository,
  stdio: "inherit",
});
await require("esbuild").build({
  entryPoints: [join(here, "page.js")],
  bundle: true,
  format: "iife",
  outfile: join(out, "page.js"),
  alias: { gen: join(out, "gen") },
  nodePaths: [packages],
  logLevel: "error",
});
