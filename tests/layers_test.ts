/**
 * The house keeps its doors: which room may import which, no circles, pure rooms, one room that prints.
 *
 * Every module of every room is looked at, whether `mod.ts` and `main.ts` reach it or not.
 * @module
 */
import assert from "node:assert/strict";

const HOME = new URL("../", import.meta.url);

/** Room -> rooms it may import besides itself. mod.ts, main.ts, the assembly and the list of plugins may import everything, and so may tools/. */
const TABLE: Readonly<Record<string, readonly string[]>> = {
  stream: [],
  guest: ["stream"],
  threads: ["stream"],
  containers: ["stream", "guest", "threads"],
  core: ["stream", "guest", "threads"],
  transports: ["stream", "core"],
  plugins: ["stream", "guest", "core"],
  reports: ["stream", "guest", "threads", "containers", "core"],
  repl: ["core"],
  // what the program's commands work with: the rooms, in the words of the command line
  tools: ["stream", "guest", "containers", "core", "reports", "repl", "mod.ts", "assembly.ts", "wiring.ts"],
};
/** What pure rooms may ask of Node: nothing that reaches outside the program. */
const NO_IO = ["node:buffer", "node:process", "node:zlib"];
const DOORS = ["mod.ts", "main.ts", "assembly.ts", "wiring.ts"];

interface Import {
  readonly from: string;
  /** Path in the project, or the specifier of something outside. */
  readonly to: string;
  /** False for `import type`. */
  readonly code: boolean;
}

interface Dependency {
  readonly specifier: string;
  readonly code?: { readonly specifier?: string };
  readonly type?: { readonly specifier?: string };
}

let graph: Promise<readonly Import[]> | undefined;

/** All imports between modules of the project, and to the outside. */
function imports(): Promise<readonly Import[]> {
  return graph ??= readGraph();
}

async function readGraph(): Promise<Import[]> {
  const roots = [...DOORS.filter(exists), ...modules()];
  const everything = Deno.makeTempFileSync({ suffix: ".ts" });
  try {
    Deno.writeTextFileSync(everything, roots.map((path) => `import "${new URL(path, HOME)}";\n`).join(""));
    const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", "--config", new URL("deno.json", HOME).pathname, everything],
      env: { NO_COLOR: "1" },
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    const info = JSON.parse(new TextDecoder().decode(stdout)) as {
      modules: { specifier: string; error?: string; dependencies?: Dependency[] }[];
    };
    const found: Import[] = [];
    for (const { specifier, error, dependencies } of info.modules) {
      assert.equal(error, undefined, specifier);
      if (!specifier.startsWith(HOME.href)) continue;
      for (const dependency of dependencies ?? []) {
        const target = dependency.code?.specifier ?? dependency.type?.specifier;
        assert(target, `${specifier} imports "${dependency.specifier}", which leads nowhere`);
        found.push({ from: inside(specifier), to: inside(target), code: dependency.code !== undefined });
      }
    }
    return found;
  } finally {
    Deno.removeSync(everything);
  }
}

function inside(specifier: string): string {
  return specifier.startsWith(HOME.href) ? specifier.slice(HOME.href.length) : specifier;
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(new URL(path, HOME)).isFile;
  } catch {
    return false;
  }
}

/** Modules of all rooms, `room/name.ts`. */
function modules(rooms: readonly string[] = Object.keys(TABLE)): string[] {
  const found: string[] = [];
  const walk = (directory: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(new URL(directory, HOME))) {
      if (isDirectory) walk(`${directory}${name}/`);
      else if (name.endsWith(".ts")) found.push(directory + name);
    }
  };
  for (const room of rooms) walk(`${room}/`);
  return found.sort();
}

/** Source without comments, strings kept. */
function code(path: string): string {
  const text = Deno.readTextFileSync(new URL(path, HOME));
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

function room(path: string): string {
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : path;
}

Deno.test("a room imports only the rooms the table allows", async () => {
  const broken = (await imports())
    .filter(({ from, to }) => !to.includes(":") && !DOORS.includes(from) && room(to) !== room(from))
    .filter(({ from, to }) => !TABLE[room(from)].includes(room(to)))
    .map(({ from, to }) => `${from} imports ${to}`);
  assert.deepEqual(broken, []);
});

Deno.test("a plugin imports no other plugin", async () => {
  const broken = (await imports())
    .filter(({ from, to }) => room(from) === "plugins" && room(to) === "plugins")
    .map(({ from, to }) => `${from} imports ${to}`);
  assert.deepEqual(broken, []);
});

Deno.test("packages are used by the program alone; the library stands on Deno and Node", async () => {
  const broken = (await imports())
    .filter(({ from, to }) =>
      to.includes(":") && !to.startsWith("node:") && room(from) !== "repl" && from !== "main.ts"
    )
    .map(({ from, to }) => `${from} imports ${to}`);
  assert.deepEqual(broken, []);
});

Deno.test("modules that run import each other in no circle", async () => {
  const next = new Map<string, string[]>();
  for (const { from, to, code } of await imports()) {
    if (code && !to.includes(":")) next.set(from, [...next.get(from) ?? [], to]);
  }
  const done = new Set<string>();
  const walk = (path: string, above: readonly string[]) => {
    assert(!above.includes(path), `circle: ${[...above.slice(above.indexOf(path)), path].join(" -> ")}`);
    if (done.has(path)) return;
    for (const to of next.get(path) ?? []) walk(to, [...above, path]);
    done.add(path);
  };
  for (const path of next.keys()) walk(path, []);
  assert(done.size > 0);
});

Deno.test("stream/ and guest/ are pure: no Deno, no I/O", async () => {
  const pure = (path: string) => ["stream", "guest"].includes(room(path));
  assert.deepEqual(modules(["stream", "guest"]).filter((path) => /\bDeno\b/.test(code(path))), []);
  const broken = (await imports())
    .filter(({ from, to }) => pure(from) && to.startsWith("node:") && !NO_IO.includes(to))
    .map(({ from, to }) => `${from} imports ${to}`);
  assert.deepEqual(broken, []);
});

Deno.test("only repl/ and main.ts print", () => {
  const silent = [...modules().filter((path) => room(path) !== "repl"), "mod.ts"].filter(exists);
  assert.deepEqual(silent.filter((path) => /\bconsole\./.test(code(path))), []);
  // a transport may be asked to carry a stream over descriptor 1
  const streams = silent.filter((path) => /\b(Deno|process)\.(stdout|stderr)\b/.test(code(path)));
  assert.deepEqual(streams.filter((path) => room(path) !== "transports"), []);
});
