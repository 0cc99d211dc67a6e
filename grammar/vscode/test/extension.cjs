// What extension.js does, with stand-ins for VS Code and for the language client; and that the bundle loads.

const assert = require("node:assert/strict");
const Module = require("node:module");

const settings = { "server.enabled": true, "server.path": "agx" };
const log = [];
const on = {};
let trusted = true;
let broken = false;

const vscode = {
  commands: {
    registerCommand: (name, run) => (on[name] = run),
    executeCommand: async (...call) => log.push(call.join(" ")),
  },
  window: {
    showWarningMessage: async (message, choice) => {
      log.push(`warning: ${message}`);
      return choice;
    },
  },
  workspace: {
    getConfiguration: () => ({ get: (name) => settings[name] }),
    get isTrusted() {
      return trusted;
    },
    onDidChangeConfiguration: (run) => (on.change = run),
    onDidGrantWorkspaceTrust: (run) => (on.trust = run),
  },
};

class LanguageClient {
  constructor(id, name, server, client) {
    this.words = `${server.command} ${server.args.join(" ")} for ${client.documentSelector[0].language}`;
    assert.equal(server.transport, "stdio");
  }
  async start() {
    if (broken) throw new Error("no such program");
    log.push(`start ${this.words}`);
  }
  async stop() {
    log.push("stop");
  }
}

/** Whatever is asked of it is a class with whatever members: enough to load the bundle. */
const anything = new Proxy(class {}, { get: (target, name) => (name in target ? target[name] : anything) });

let standIns = { vscode, "vscode-languageclient/node": { LanguageClient, TransportKind: { stdio: "stdio" } } };
const load = Module._load;
Module._load = (name, ...rest) => standIns[name] ?? load(name, ...rest);

const said = () => log.splice(0);

async function main() {
  const extension = require("../extension.js");
  await extension.activate({ subscriptions: [] });
  assert.deepEqual(said(), ["start agx lsp for agx"]);

  settings["server.path"] = "/opt/agx";
  await on.change({ affectsConfiguration: (section) => section === "agx.server" });
  assert.deepEqual(said(), ["stop", "start /opt/agx lsp for agx"]);
  await on.change({ affectsConfiguration: () => false });
  assert.deepEqual(said(), []);

  await on["agx.restart"]();
  assert.deepEqual(said(), ["stop", "start /opt/agx lsp for agx"]);

  settings["server.enabled"] = false;
  await on["agx.restart"]();
  assert.deepEqual(said(), ["stop"]);

  settings["server.enabled"] = true;
  trusted = false;
  await on["agx.restart"]();
  assert.deepEqual(said(), []);
  trusted = true;
  await on.trust();
  assert.deepEqual(said(), ["start /opt/agx lsp for agx"]);

  broken = true;
  await on["agx.restart"]();
  const [stop, warning, settingsOpened] = said();
  assert.equal(stop, "stop");
  assert.match(warning, /`\/opt\/agx lsp` does not start: no such program/);
  assert.equal(settingsOpened, "workbench.action.openSettings agx.server");
  await extension.deactivate();
  assert.deepEqual(said(), []);

  standIns = { vscode: anything };
  const bundle = require("../dist/extension.js");
  assert.equal(typeof bundle.activate, "function");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
