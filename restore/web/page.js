// The page's client of /api/jobs: sends the image, polls the job, shows both images.
window.restorePage = (() => {
  const root = document.documentElement.classList;
  const nothing = [null, null];
  let job = null; // the id of the job under way
  let wanted = 0; // grows with each start and cancel, so that an older loop knows that it is over
  let shown = nothing; // the result on the page, which stays until there is another
  let isPart = false;

  const part = (id) => document.getElementById(id);
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const isGiven = (number) => String(number ?? "").trim() !== "";
  const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
  const filled = (sentence, values) => sentence.replace(/{(\w+)}/g, (_, name) => values[name]);

  function say(text, kind = "") {
    part("restore-status").textContent = text;
    part("restore-status").className = kind;
  }

  // While a job is under way; without a share the bar only moves.
  function progress(text, share = null) {
    say(text);
    root.add("restore-busy");
    const bar = part("restore-progress");
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
  }

  function end(text, kind) {
    root.remove("restore-busy");
    say(text, kind);
  }

  function method() {
    const chosen = document.querySelector("#restore-methods input:checked");
    return restoreFacts.methods.find((each) => chosen === null || each.name === chosen.value);
  }

  // Only what the method can do is on the page.
  function offer() {
    const { anyScale, trains, makesNewImage } = method();
    root.toggle("restore-any-scale", anyScale);
    root.toggle("restore-trains", trains);
    root.toggle("restore-part", anyScale && isPart);
    root.toggle("restore-new-image", makesNewImage);
  }

  async function call(path, options) {
    const response = await fetch(path, options);
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(body.detail || `the server answered with status ${response.status}`);
    return body;
  }

  function fields(mode, scale, metadata, seconds, steps, start, kernel, noise, seed) {
    const form = new FormData();
    const { name, anyScale, trains, makesNewImage } = method();
    const takesPart = anyScale && mode === "part";
    form.append("method", name);
    form.append("mode", takesPart ? "part" : "whole");
    if (!makesNewImage) form.append("metadata", metadata);
    if (anyScale && !takesPart && isGiven(scale)) form.append("scale", scale);
    if (trains && seconds) form.append("seconds", seconds);
    if (trains && isGiven(steps)) form.append("steps", steps);
    if (trains && start) form.append("start", start);
    if (trains && kernel) form.append(kernel === "auto" ? "degradation" : "kernel", kernel);
    if (trains && isGiven(noise)) form.append("noise", noise);
    if ((trains || takesPart) && isGiven(seed)) form.append("seed", seed);
    return form;
  }

  // The server's own limits, in its own words, before anything is sent; it looks again.
  async function refuse(file) {
    const { maxBytes, maxMb, maxSide, tooLarge, tooLong } = restoreFacts;
    if (file.size > maxBytes) {
      throw new Error(filled(tooLarge, { mb: (file.size / 1e6).toFixed(1), most: maxMb }));
    }
    const [width, height] = await sides(file);
    if (Math.max(width, height) > maxSide) {
      throw new Error(filled(tooLong, { width, height, most: maxSide }));
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

  async function run(...given) {
    const mine = ++wanted;
    try {
      const file = part("restore-file").files[0];
      if (!file) throw new Error("choose an image first");
      await refuse(file);
      progress("uploading");
      const form = fields(...given);
      form.append("image", file);
      let status = await call("api/jobs", { method: "POST", body: form });
      if (mine !== wanted) {
        await call(`api/jobs/${status.id}`, { method: "DELETE" });
        return [shown];
      }
      job = status.id;
      while (status.state === "waiting" || status.state === "running") {
        if (status.state === "waiting") progress(status.ahead ? `waiting: ${counted(status.ahead, "job")} before this one` : "waiting");
        else if (status.total) progress(`${status.phase}: ${status.done} of ${status.total}`, status.done / status.total);
        else progress("starting");
        await pause(300);
        if (mine !== wanted) return [shown];
        status = await call(`api/jobs/${job}`);
        if (mine !== wanted) return [shown]; // cancelled while the server answered
      }
      job = null;
      if (status.state !== "done") throw new Error(status.detail);
      const images = await Promise.all(["before", "result"].map((name) => fetched(`api/jobs/${status.id}/${name}.png`)));
      if (mine === wanted) show(status, file, images);
    } catch (error) {
      if (mine === wanted) end(error.message, "error");
    }
    return [shown];
  }

  // Kept by the browser, so that a result stays on the page when the server has deleted it.
  async function fetched(address) {
    const response = await fetch(address);
    if (!response.ok) throw new Error((await response.json().catch(() => ({}))).detail || `the server answered with status ${response.status}`);
    return URL.createObjectURL(await response.blob());
  }

  function show(status, file, images) {
    const [height, width] = status.size;
    const isFallback = status.outcome === "fallback";
    const seed = method().trains || status.part ? `, seed ${status.seed}` : "";
    const where = status.part ? `; part at row ${status.part[0]}, column ${status.part[1]}` : "";
    const notes = Object.entries(status.notes).map(([name, text]) => `; ${name}: ${text}`).join("");
    const word = isFallback ? "done, but the result is bicubic" : "done";
    end(`${word}: ${status.method}, ${width}x${height} px${seed}${where}${notes}`, isFallback ? "warning" : "");
    const label = status.part ? `part${status.seed}_x8` : status.scale > 1 ? `x${status.scale}` : "restored";
    const link = document.createElement("a");
    link.href = images[1];
    link.id = "restore-download";
    link.download = `${file.name.replace(/\.[^.]*$/, "")}_${label}.png`;
    link.textContent = `Download ${link.download}`;
    part("restore-links").replaceChildren(link);
    shown.forEach((old) => old && URL.revokeObjectURL(old.url));
    shown = images.map((url, k) => {
      const name = ["before.png", "result.png"][k];
      return { path: url, url, orig_name: name, mime_type: "image/png", is_stream: false, meta: { _type: "gradio.FileData" } };
    });
    root.add("restore-done");
  }

  function cancel() {
    wanted += 1;
    if (job !== null) call(`api/jobs/${job}`, { method: "DELETE" }).catch((error) => say(error.message, "error"));
    job = null;
    end("cancelled");
    return [];
  }

  // A new file: a look at it, its size, and whether the server would take it.
  async function choose(file) {
    const preview = part("restore-preview");
    URL.revokeObjectURL(preview.src);
    preview.hidden = !file;
    if (!file) return;
    preview.src = URL.createObjectURL(file);
    preview.onerror = () => { preview.hidden = true; }; // a TIFF, or no image
    part("restore-name").textContent = `${file.name}, ${(file.size / 1e6).toFixed(1)} MB`;
    const before = wanted;
    if (!root.contains("restore-busy")) say("");
    await refuse(file).catch((error) => {
      if (before === wanted && !root.contains("restore-busy")) say(error.message, "error");
    });
  }

  document.addEventListener("change", (event) => {
    if (event.target.id === "restore-file") choose(event.target.files[0]);
    if (event.target.closest("#restore-mode")) isPart = event.target.value === "part";
    if (event.target.closest("#restore-mode, #restore-methods")) offer();
  });

  // The input lies over the whole drop zone and takes what is dropped; beside it nothing may replace the page.
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      const zone = event.target.closest?.("#restore-drop");
      part("restore-drop")?.classList.toggle("over", name === "dragover" && Boolean(zone));
      if (!zone && name !== "dragleave") event.preventDefault();
    });
  }

  offer();
  return { run, cancel };
})();
