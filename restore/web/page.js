// The page's client of /api/jobs: sends the image, polls the job, shows both images.
window.restorePage = (() => {
  let job = null; // the id of the job under way
  let wanted = 0; // grows with each start and cancel, so that an older loop knows that it is over

  const part = (id) => document.getElementById(id);
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  function say(text, share) {
    part("restore-status").textContent = text;
    const bar = part("restore-progress");
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
  }

  async function call(path, options) {
    const response = await fetch(path, options);
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(body.detail || `the server answered ${response.status}`);
    return body;
  }

  function fields(method, mode, scale, metadata, seconds, steps, seed) {
    const form = new FormData();
    const entry = methods.find((each) => each.name === method);
    form.append("method", method);
    form.append("mode", mode);
    form.append("metadata", metadata);
    if (entry.any_scale && mode === "whole" && scale) form.append("scale", scale);
    if (entry.max_steps && seconds) form.append("seconds", seconds);
    if (entry.max_steps && steps) form.append("steps", steps);
    if (seed !== null && seed !== "") form.append("seed", seed);
    return form;
  }

  const filled = (sentence, values) => sentence.replace(/{(\w+)}/g, (_, name) => values[name]);

  // The server's own limits, in its own words, before anything is sent; it looks again.
  async function refuse(file, limits) {
    if (file.size > limits.maxBytes) {
      throw new Error(filled(limits.tooLarge, { mb: (file.size / 1e6).toFixed(1), most: limits.maxMb }));
    }
    const [width, height] = await sides(file);
    if (Math.max(width, height) > limits.maxSide) {
      throw new Error(filled(limits.tooLong, { width, height, most: limits.maxSide }));
    }
  }

  // 0 where this browser cannot know: it reads no TIFF, and damage is the server's to name.
  async function sides(file) {
    const image = new Image();
    const url = URL.createObjectURL(file);
    await new Promise((known) => {
      image.onload = image.onerror = known;
      image.src = url;
    });
    URL.revokeObjectURL(url);
    return [image.naturalWidth, image.naturalHeight];
  }

  let methods = [];

  async function run(...given) {
    const mine = ++wanted;
    const nothing = [[null, null]];
    part("restore-links").textContent = "";
    try {
      const file = part("restore-file").files[0];
      if (!file) throw new Error("choose an image first");
      await refuse(file, JSON.parse(part("restore-file").dataset.limits));
      say("sending", null);
      methods = (await call("api/methods")).methods;
      const form = fields(...given);
      form.append("image", file);
      let status = await call("api/jobs", { method: "POST", body: form });
      if (mine !== wanted) {
        await call(`api/jobs/${status.id}`, { method: "DELETE" });
        return nothing;
      }
      job = status.id;
      while (status.state === "waiting" || status.state === "running") {
        if (status.state === "waiting") say(`waiting, ${status.ahead} before you`, null);
        else say(status.total ? `${status.phase}: ${status.done} of ${status.total}` : "starting", status.total ? status.done / status.total : null);
        await pause(300);
        if (mine !== wanted) return nothing;
        status = await call(`api/jobs/${job}`);
      }
      job = null;
      if (status.state !== "done") throw new Error(status.detail);
      return [show(status, file)];
    } catch (error) {
      if (mine === wanted) say(error.message, 0);
      return nothing;
    }
  }

  function show(status, file) {
    const address = `api/jobs/${status.id}`;
    const [height, width] = status.size;
    const where = status.part ? `; the part at row ${status.part[0]}, column ${status.part[1]}` : "";
    const notes = Object.entries(status.notes).map(([name, text]) => `; ${name}: ${text}`).join("");
    say(`done: ${status.method}, ${width}x${height} px, seed ${status.seed}${where}${notes}`, 1);
    const label = status.part ? `part${status.seed}_x8` : status.scale > 1 ? `x${status.scale}` : "restored";
    const link = document.createElement("a");
    link.href = `${address}/result.png`;
    link.id = "restore-download";
    link.download = `${file.name.replace(/\.[^.]*$/, "")}_${label}.png`;
    link.textContent = `Download ${link.download}`;
    part("restore-links").replaceChildren(link);
    return ["before", "result"].map((name) => {
      const url = new URL(`${address}/${name}.png`, document.baseURI).href;
      return { path: url, url, orig_name: `${name}.png`, mime_type: "image/png", is_stream: false, meta: { _type: "gradio.FileData" } };
    });
  }

  function cancel() {
    wanted += 1;
    if (job !== null) call(`api/jobs/${job}`, { method: "DELETE" }).catch((error) => say(error.message, 0));
    job = null;
    say("cancelled", 0);
    return [];
  }

  document.addEventListener("change", (event) => {
    if (event.target.id !== "restore-file") return;
    const preview = part("restore-preview");
    URL.revokeObjectURL(preview.src);
    const file = event.target.files[0];
    preview.hidden = !file;
    if (file) preview.src = URL.createObjectURL(file);
  });

  return { run, cancel };
})();
