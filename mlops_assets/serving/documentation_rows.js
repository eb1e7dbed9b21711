byId("send").addEventListener("click", async () => {
  const started = performance.now();
  byId("send").disabled = true;
  tell("waiting", false);
  try {
    const reply = await fetch("invocations", { method: "POST", headers: { "content-type": "application/json" }, body: byId("body").value });
    const text = await reply.text();
    tell(`${reply.status} in ${(performance.now() - started).toFixed(1)} ms`, !reply.ok);
    try { byId("answer").textContent = JSON.stringify(JSON.parse(text), null, 2); } catch { byId("answer").textContent = text; }
  } catch (error) {
    tell("no answer", true);
    byId("answer").textContent = String(error);
  } finally {
    byId("send").disabled = false;
  }
});
