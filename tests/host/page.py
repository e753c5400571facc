"""A person at ComfyUI's page, in headless Chromium: runs a list of steps, prints their results.

Runs in the host's own Python, which has playwright: ``page.py URL STEPS.json``. The file has the
page's own ``settings`` and the ``steps``. A step is one of ``{"load": workflow}``,
``{"open": file}``, ``{"run": seconds}``, ``{"prompt": true}``, ``{"serialize": true}``,
``{"screenshot": file}``, ``{"graph_shot": file}``, ``{"help": node_type}``,
``{"evaluate": javascript}``, ``{"click": selector}``, ``{"click_node": node_type}``,
``{"press": key}``, ``{"text": selector}`` and ``{"subgraph": {"prefix": ..., "name": ...,
"description": ..., "promoted": [[type, widget], ...]}}``. The results come as one JSON object on
the last line: ``results``, and what the page complained about as ``errors``.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Workflow.Persist": False,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.VueNodes.Enabled": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,
}
READY = """() => window.app?.vueAppReady && window.app?.graph
  && Object.keys(window.LiteGraph?.registered_node_types ?? {}).includes('GPEN_PasteBack')"""
WATCH = """() => { window.__end = new Promise(done => {
  window.__progress = 0
  app.api.addEventListener('progress', () => { window.__progress += 1 })
  for (const type of ['execution_success', 'execution_error', 'execution_interrupted'])
    app.api.addEventListener(type, event => done({ type, detail: event.detail })) }) }"""
END = """seconds => Promise.race([window.__end,
  new Promise(done => setTimeout(() => done({ type: 'timeout' }), seconds * 1000))])"""
# The classic renderer keeps what it draws, the other one asks for it by the node's id.
IMAGES = """() => Object.fromEntries(app.graph._nodes
  .map(n => [n.type, n.imgs?.length || app.nodeOutputs[n.id]?.images?.length])
  .filter(([, count]) => count))"""

GRAPH_BOX = """() => {
  const { scale, offset } = app.canvas.ds, edge = 12
  const frame = app.canvas.canvas.getBoundingClientRect()
  const corners = app.graph._nodes.map(n => [n.pos[0], n.pos[1] - 30, n.pos[0] + n.size[0],
    n.pos[1] + n.size[1]])
  const at = (i, pick) => pick(...corners.map(c => c[i]))
  return [[at(0, Math.min), 0], [at(1, Math.min), 1], [at(2, Math.max), 0], [at(3, Math.max), 1]]
    .map(([value, axis], i) => (value + offset[axis]) * scale
      + (axis ? frame.top : frame.left) + (i < 2 ? -edge : edge)) }"""


def load(page: Page, workflow: dict[str, Any]) -> list[str]:
    page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    page.wait_for_timeout(300)
    return page.evaluate("() => app.graph._nodes.map(node => node.type)")


def open_file(page: Page, path: str) -> list[str]:
    """Open a file as if it were dropped on the page."""
    data = base64.b64encode(Path(path).read_bytes()).decode()
    page.evaluate("() => app.graph.clear()")
    page.evaluate(
        """async ([name, data]) => {
          const type = name.endsWith('.png') ? 'image/png' : 'application/json'
          const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0))
          await app.handleFile(new File([bytes], name, { type })) }""",
        [Path(path).name, data],
    )
    page.wait_for_timeout(500)
    return page.evaluate("() => app.graph._nodes.map(node => node.type)")


def run(page: Page, seconds: float) -> dict[str, Any]:
    page.evaluate(WATCH)
    button = '[data-testid="queue-button"], .queue-button-group .p-splitbutton-button'
    page.locator(f'{button}, button:has-text("Run")').first.click()
    end = page.evaluate(END, seconds)
    page.wait_for_timeout(1500)
    progress = page.evaluate("() => window.__progress")
    return {"end": end["type"], "images": page.evaluate(IMAGES), "progress": progress}


def prompt(page: Page) -> dict[str, Any]:
    return page.evaluate("async () => (await app.graphToPrompt()).output")


def serialize(page: Page) -> dict[str, Any]:
    # Through text, as the page's own export: playwright would turn absent values into null.
    return json.loads(page.evaluate("() => JSON.stringify(app.graph.serialize())"))


def screenshot(page: Page, path: str) -> str:
    page.evaluate("() => app.canvas.draw(true, true)")
    page.keyboard.press(".")  # fit the view
    page.wait_for_timeout(1200)
    page.screenshot(path=path, **({"type": "jpeg", "quality": 85} if path.endswith("jpg") else {}))
    return path


def graph_shot(page: Page, path: str) -> str:
    """A picture of the graph alone, without the page's bars."""
    screenshot(page, path)
    left, top, right, bottom = page.evaluate(GRAPH_BOX)
    box = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    page.screenshot(path=path, clip=box)
    return path


def node_help(page: Page, kind: str) -> str:
    """The help page of a node, from where the page fetches it."""
    module = page.evaluate("k => LiteGraph.registered_node_types[k].nodeData.python_module", kind)
    pack = module.split(".")[1]
    url = f"{page.evaluate('() => location.origin')}/extensions/{pack}/docs/{kind}.md"
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


TITLE = """kind => {
  const node = app.graph._nodes.find(n => n.type === kind), { scale, offset } = app.canvas.ds
  const frame = app.canvas.canvas.getBoundingClientRect()
  return [frame.left + (node.pos[0] + 60 + offset[0]) * scale,
    frame.top + (node.pos[1] - 15 + offset[1]) * scale] }"""
SUBGRAPH = """({ prefix, name, description, promoted }) => {
  const chosen = app.graph._nodes.filter(n => n.type.startsWith(prefix))
  const { subgraph, node } = app.graph.convertToSubgraph(new Set(chosen))
  subgraph.name = name
  node.title = name
  for (const other of app.graph._nodes.filter(n => n !== node)) app.graph.remove(other)
  node.pos = [0, 0]
  const inner = type => String(subgraph.nodes.find(n => n.type === type).id)
  node.properties.proxyWidgets = promoted.map(([type, widget]) => [inner(type), widget])
  app.graph.extra = { BlueprintDescription: description }
  return JSON.stringify(app.graph.serialize()) }"""


def make_subgraph(page: Page, wanted: dict[str, Any]) -> dict[str, Any]:
    """Put our nodes into one, and leave it alone on the page: the saved graph."""
    return json.loads(page.evaluate(SUBGRAPH, wanted))


def evaluate(page: Page, code: str) -> Any:
    """What JavaScript on the page gives, once the page has settled."""
    value = page.evaluate(code)
    page.wait_for_timeout(500)
    return value


def click_node(page: Page, kind: str) -> None:
    """Click the title of the first node of a type, after fitting the graph into the view."""
    page.keyboard.press(".")
    page.wait_for_timeout(1200)
    left, top = page.evaluate(TITLE, kind)
    page.mouse.click(left, top)
    page.wait_for_timeout(500)


def click(page: Page, selector: str) -> str:
    """Click what a selector finds first; the page's text afterwards."""
    page.locator(selector).first.click()
    page.wait_for_timeout(1000)
    return page.locator("body").inner_text()


def press(page: Page, key: str) -> None:
    page.keyboard.press(key)
    page.wait_for_timeout(1000)


STEPS = {
    "load": load,
    "open": open_file,
    "run": run,
    "prompt": lambda page, _: prompt(page),
    "serialize": lambda page, _: serialize(page),
    "screenshot": screenshot,
    "graph_shot": graph_shot,
    "help": node_help,
    "subgraph": make_subgraph,
    "evaluate": evaluate,
    "click": click,
    "click_node": click_node,
    "press": press,
    "text": lambda page, selector: page.locator(selector).all_inner_texts(),
}


def main(url: str, steps_file: str) -> None:
    asked = json.loads(Path(steps_file).read_text())
    for key, value in {**SETTINGS, **asked["settings"]}.items():
        body = json.dumps(value).encode()
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{url}/api/settings/{key}", body, headers))
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    errors: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        context = browser.new_context(viewport={"width": 2240, "height": 1120})
        # Nothing but the server under test is asked for anything.
        here = urlsplit(url).netloc
        context.route(lambda asked: urlsplit(asked).netloc != here, lambda route: route.abort())
        page = context.new_page()
        page.add_init_script("localStorage.setItem('vueNodesBannerDismissed', 'true')")
        page.on("pageerror", lambda error: errors.append(str(error)[:300]))
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_function(READY, timeout=90_000)
        results = []
        for step in asked["steps"]:
            ((name, argument),) = step.items()
            results.append(STEPS[name](page, argument))
            errors += page.locator(".p-toast-message-content").all_inner_texts()
        browser.close()
    print(json.dumps({"results": results, "errors": errors}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
