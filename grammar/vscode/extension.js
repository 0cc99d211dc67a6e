// Starts `agx lsp` and speaks to it over its standard input and output.

const { commands, window, workspace } = require("vscode");
const { LanguageClient, TransportKind } = require("vscode-languageclient/node");

/** @type {LanguageClient | undefined} */
let client;

async function start() {
  const settings = workspace.getConfiguration("agx");
  if (!settings.get("server.enabled") || !workspace.isTrusted) return;

  const command = settings.get("server.path") || "agx";
  client = new LanguageClient(
    "agx",
    "agx",
    { command, args: ["lsp"], transport: TransportKind.stdio },
    { documentSelector: [{ language: "agx" }] },
  );
  try {
    await client.start();
  } catch (error) {
    // Highlighting works without the server: one message, no more.
    client = undefined;
    const choice = await window.showWarningMessage(
      `\`${command} lsp\` does not start: ${error.message}. Set \`agx.server.path\`, or turn the server off.`,
      "Open settings",
    );
    if (choice) await commands.executeCommand("workbench.action.openSettings", "agx.server");
  }
}

async function stop() {
  const running = client;
  client = undefined;
  await running?.stop();
}

async function restart() {
  await stop();
  await start();
}

exports.activate = async (context) => {
  context.subscriptions.push(
    commands.registerCommand("agx.restart", restart),
    workspace.onDidChangeConfiguration((change) => change.affectsConfiguration("agx.server") && restart()),
    workspace.onDidGrantWorkspaceTrust(restart),
  );
  await start();
};

exports.deactivate = stop;
