// A large file is sent in parts while the rest of the form is filled in; small ones go with the form.
import { attachOnce } from "./attach.js";
import { TusUpload } from "./tus.js";
import { UploadView, WORDS } from "./upload_view.js";

function hidden(form, name) {
  const found = form.querySelector(`input[type=hidden][name=${name}]`);
  return found ?? form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name }));
}

function start(box) {
  const form = box.closest("form");
  const input = form.elements.file;
  const token = form.elements.csrfmiddlewaretoken.value;
  const view = new UploadView(box);
  const pause = view.part("pause");
  let upload, running, submitter, digest;

  async function go() {
    const mine = upload;
    running = true;
    view.begin(mine.file.size);
    const whole = await mine.run().catch((refusal) => view.say(refusal.message));
    if (mine !== upload) return; // another file was chosen meanwhile
    running = false;
    digest = whole;
    if (!digest) return void pause.replaceChildren("Resume");
    hidden(form, "upload").value = mine.url.split("/").at(-2);
    hidden(form, "upload_digest").value = digest;
    pause.hidden = true;
    view.say(WORDS.complete);
    if (submitter) form.requestSubmit(submitter);
  }

  function take() {
    upload?.pause();
    upload = submitter = digest = undefined;
    for (const name of ["upload", "upload_digest"]) hidden(form, name).remove();
    const [file] = input.files;
    const large = Boolean(file) && file.size > Number(box.dataset.uploadAbove);
    input.name = large ? "" : "file"; // what came in parts is not sent again
    box.hidden = pause.hidden = !large;
    if (!large) return;
    const on = (state) => view.say(submitter ? WORDS.queued : WORDS[state]);
    const progress = (bytes) => view.progress(bytes);
    upload = new TusUpload(file, { create: box.dataset.upload, token, on, progress });
    go();
  }

  input.addEventListener("change", take);
  pause.addEventListener("click", () => {
    if (!running) return void go();
    upload.pause();
    view.say(WORDS.paused);
  });
  view.part("cancel").addEventListener("click", () => {
    upload?.discard();
    input.value = "";
    input.dispatchEvent(new Event("change"));
  });
  form.addEventListener("submit", (event) => {
    if (!upload || digest) return;
    event.preventDefault();
    submitter = event.submitter;
    if (running) view.say(WORDS.queued);
  });
}

export function attach(root) {
  attachOnce(root, "[data-upload]", start);
}
