// Words play the audio that the browser has: the server deletes its copy as soon as it is read.
window.maya = {
  kept: Promise.resolve(),
  keep(file) {
    const player = document.getElementById("maya-player");
    if (!file) { player.removeAttribute("src"); player.load(); return ""; }
    this.kept = fetch(file.url)
      .then((answer) => answer.blob())
      .then((blob) => {
        URL.revokeObjectURL(player.src);
        player.src = URL.createObjectURL(blob);
      })
      .catch(() => {});
    return file.path;
  },
  play(word) {
    const player = document.getElementById("maya-player");
    player.currentTime = Number(word.dataset.start);
    player.play();
  },
};
const mayaWord = (event) => event.target.closest?.(".maya-word[data-start]");
document.addEventListener("click", (event) => {
  const word = mayaWord(event);
  if (word) window.maya.play(word);
});
document.addEventListener("keydown", (event) => {
  const word = mayaWord(event);
  if (!word || (event.key !== "Enter" && event.key !== " ")) return;
  event.preventDefault();
  window.maya.play(word);
});
document.addEventListener("timeupdate", (event) => {
  if (event.target.id !== "maya-player") return;
  const now = event.target.currentTime;
  for (const word of document.querySelectorAll(".maya-word[data-start]")) {
    const on = Number(word.dataset.start) <= now && now < Number(word.dataset.end);
    word.classList.toggle("maya-playing", on);
  }
}, true);
