// The viewer: a true shape and an answer, turned together. `shapes.py` says how they are packed.

const STEPS = 2047, FAR = 0.1, NEAR = 0.02; // what is farther than NEAR from the other shape is missing or invented
const COLOURS = { truth: 0x9eadc2, answer: 0xeda85e, missing: 0x2f6fe0, invented: 0xd23f31 };
const SIDE = { azimuth: 35, elevation: 25, distance: 2.5 }; // as the pictures
let pose = { ...SIDE }, shown = null, renderer = null, turning = false, drawn = 0, held = null;

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return parsed(await new Response(stream).arrayBuffer());
}

function parsed(buffer) {
  const view = new DataView(buffer), bytes = new Uint8Array(buffer);
  const [vertices, faces, others] = [0, 4, 8].map((at) => view.getUint32(at, true));
  const extent = view.getFloat32(12, true);
  let at = 16;
  const steps = (count) => {
    const found = new Int32Array(count);
    for (let n = 0; n < count; n++) {
      const zigzag = bytes[at + n] | (bytes[at + count + n] << 8);
      found[n] = zigzag & 1 ? -(zigzag + 1) / 2 : zigzag / 2;
    }
    at += 2 * count;
    return found;
  };
  const moves = steps(3 * vertices), corners = new Float32Array(3 * vertices), sums = [0, 0, 0];
  for (let n = 0; n < moves.length; n++) corners[n] = ((sums[n % 3] += moves[n]) / STEPS) * extent;
  const ahead = steps(3 * faces), index = new Uint32Array(3 * faces);
  for (let n = 0, first = 0; n < ahead.length; n += 3) {
    first += ahead[n];
    index.set([first, first + ahead[n + 1], first + ahead[n + 2]], n);
  }
  const far = bytes.slice(at, at + vertices), lost = bytes.slice(at + vertices, at + vertices + others);
  return { corners, index, far, lost };
}

function coloured(shape, far, plain, marked) {
  const colours = new Float32Array(shape.corners.length);
  for (let n = 0; n < shape.corners.length / 3; n++) {
    new THREE.Color(far && (far[n] / 255) * FAR > NEAR ? marked : plain).toArray(colours, 3 * n);
  }
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(shape.corners, 3));
  geometry.setAttribute("color", new THREE.BufferAttribute(colours, 3));
  if (!shape.index.length) {
    return new THREE.Points(geometry, new THREE.PointsMaterial({ size: 0.03, vertexColors: true }));
  }
  geometry.setIndex(new THREE.BufferAttribute(shape.index, 1));
  const options = { vertexColors: true, flatShading: true, side: THREE.DoubleSide, shininess: 8 };
  return new THREE.Mesh(geometry, new THREE.MeshPhongMaterial(options));
}

function lit(object) {
  const scene = new THREE.Scene();
  const sun = new THREE.DirectionalLight(0xffffff, 0.75);
  scene.add(object, sun, new THREE.AmbientLight(0xffffff, 0.45));
  scene.userData.sun = sun;
  return scene;
}

function share(far) {
  return far.length ? far.reduce((count, value) => count + ((value / 255) * FAR > NEAR), 0) / far.length : 0;
}

function sceneOf(truth, answer, marks) {
  const marked = marks ? answer : { lost: null, far: null };
  return {
    left: lit(coloured(truth, marked.lost, COLOURS.truth, COLOURS.missing)),
    right: lit(coloured(answer, marked.far, COLOURS.answer, COLOURS.invented)),
    reach: Math.max(0.7, ...[truth, answer].map(reachOf)),
  };
}

function reachOf(shape) {
  let most = 0;
  for (let n = 0; n < shape.corners.length; n += 3) most = Math.max(most, Math.hypot(...shape.corners.slice(n, n + 3)));
  return most;
}

function cameraOf(aspect, reach) {
  const camera = new THREE.PerspectiveCamera(36, aspect, 0.01, 1000);
  const [across, up] = [pose.azimuth, pose.elevation].map((angle) => (angle * Math.PI) / 180);
  const distance = (pose.distance * reach) / 0.7 / Math.min(1, aspect);
  camera.position.set(Math.sin(across) * Math.cos(up), Math.sin(up), -Math.cos(across) * Math.cos(up));
  camera.position.multiplyScalar(distance);
  camera.lookAt(0, 0, 0);
  return camera;
}

function render() {
  drawn = 0;
  if (!shown || !renderer) return;
  const canvas = byId("viewer-canvas");
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  renderer.setPixelRatio(Math.min(2, devicePixelRatio));
  renderer.setSize(width, height, false);
  const camera = cameraOf(width / 2 / height, shown.reach);
  renderer.setScissorTest(true);
  for (const [scene, left] of [[shown.left, 0], [shown.right, width / 2]]) {
    scene.userData.sun.position.copy(camera.position).add(new THREE.Vector3(0, camera.position.length() / 2, 0));
    renderer.setViewport(left, 0, width / 2, height);
    renderer.setScissor(left, 0, width / 2, height);
    renderer.render(scene, camera);
  }
  if (turning && byId("viewer").open) {
    pose.azimuth += 0.5;
    redraw();
  }
}

function redraw() {
  if (!drawn) drawn = requestAnimationFrame(render);
}

function turn(across, up) {
  pose.azimuth += across;
  pose.elevation = Math.max(-89, Math.min(89, pose.elevation + up));
  redraw();
}

function nearer(factor) {
  pose.distance = Math.max(1, Math.min(8, pose.distance / factor));
  redraw();
}

function byItself(on) {
  turning = on;
  byId("viewer-turn").setAttribute("aria-pressed", String(on));
  redraw();
}

function drawViewer(id) {
  const dialog = byId("viewer"), entry = entries.find((one) => one.id === id);
  if (!entry) {
    if (dialog.open) dialog.close();
    return;
  }
  if (dialog.open && dialog.dataset.id === id) return;
  dialog.dataset.id = id;
  byId("viewer-title").textContent = entry.element.querySelector("h3").textContent;
  const names = [...entry.element.querySelectorAll("script[data-name]")].map((one) => one.dataset.name).slice(1);
  const before = byId("viewer-name").value;
  byId("viewer-name").replaceChildren(...names.map((name) => new Option(name.replaceAll("_", " "), name)));
  byId("viewer-name").value = [before, state.system].find((name) => names.includes(name)) ?? names[0];
  if (!dialog.open) {
    pose = { ...SIDE };
    dialog.showModal();
    byId("viewer-canvas").focus();
  }
  load(entry);
}

async function load(entry) {
  const name = byId("viewer-name").value, words = byId("viewer-words");
  const text = (of) => entry.element.querySelector(`script[data-name="${CSS.escape(of)}"]`).textContent;
  try {
    renderer ??= new THREE.WebGLRenderer({ canvas: byId("viewer-canvas"), antialias: true, alpha: true });
    const [truth, answer] = await Promise.all([unpacked(text("truth")), unpacked(text(name))]);
    if (byId("viewer").dataset.id !== entry.id || byId("viewer-name").value !== name) return; // another is asked for
    for (const scene of shown ? [shown.left, shown.right] : []) {
      scene.traverse((object) => [object.geometry, object.material].forEach((part) => part?.dispose()));
    }
    shown = sceneOf(truth, answer, byId("viewer-marks").checked);
    const percent = (far) => `${Math.round(100 * share(far))} %`;
    words.textContent = answer.corners.length
      ? `Farther than ${100 * NEAR} % of the cube's side from the other: ${percent(answer.lost)} of the true shape's ` +
        `corners (missing, blue), ${percent(answer.far)} of the answer's (invented, red).`
      : "The answer is nothing.";
    redraw();
  } catch (error) {
    shown = null;
    words.textContent = `This browser can't show shapes (it needs WebGL and DecompressionStream): ${error.message}`;
  }
}

function step(by) {
  const place = visible.findIndex((entry) => entry.id === byId("viewer").dataset.id);
  const next = visible[(place + by + visible.length) % visible.length];
  if (next) change({ open: next.id });
}

function reload() {
  const entry = entries.find((one) => one.id === byId("viewer").dataset.id);
  if (entry) load(entry);
}

byId("viewer-name").addEventListener("change", reload);
byId("viewer-marks").addEventListener("change", reload);
byId("viewer-before").addEventListener("click", () => step(-1));
byId("viewer-after").addEventListener("click", () => step(1));
byId("viewer-close").addEventListener("click", () => byId("viewer").close());
byId("viewer-turn").addEventListener("click", () => byItself(!turning));
byId("viewer").addEventListener("close", () => {
  byItself(false);
  if (state.open) change({ open: "" });
});
byId("viewer-canvas").addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, 8], ArrowDown: [0, -8] };
  const factor = { "+": 1.15, "=": 1.15, "-": 1 / 1.15 }[event.key];
  if (moves[event.key]) turn(...moves[event.key]);
  else if (factor) nearer(factor);
  else return;
  event.preventDefault();
});
byId("viewer-canvas").addEventListener("pointerdown", (event) => {
  event.target.setPointerCapture(event.pointerId);
  held = [event.clientX, event.clientY];
});
byId("viewer-canvas").addEventListener("pointermove", (event) => {
  if (!held || !event.buttons) return;
  turn((event.clientX - held[0]) * 0.5, (event.clientY - held[1]) * 0.5);
  held = [event.clientX, event.clientY];
});
byId("viewer-canvas").addEventListener(
  "wheel",
  (event) => {
    nearer(Math.exp(-event.deltaY / 500));
    event.preventDefault();
  },
  { passive: false },
);
addEventListener("resize", redraw);
draw();
