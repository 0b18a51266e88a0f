"use strict";
(() => {
  const PAGE = 50;
  const byId = (id) => document.getElementById(id);
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") element.className = value;
      else if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const colorOf = (i) => `--c:var(--head-${i % 4})`;

  // Tables whose columns sort by a click on their name.
  const valueOf = (cell) => {
    const given = cell?.dataset.v ?? cell?.textContent.trim() ?? "";
    const number = Number.parseFloat(given);
    return Number.isNaN(number) ? given.toLowerCase() : number;
  };
  const compare = (a, b) => {
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  };
  const mark = (heads, chosen, descending) => {
    for (const head of heads) head.removeAttribute("aria-sort");
    chosen.setAttribute("aria-sort", descending ? "descending" : "ascending");
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", class: "sort" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        const lines = [...table.tBodies[0].rows];
        lines.sort((a, b) => compare(valueOf(a.cells[column]), valueOf(b.cells[column])));
        if (descending) lines.reverse();
        table.tBodies[0].append(...lines);
        mark(heads, head, descending);
      });
    });
  }

  // The block of rows: a JSON header, then row after row of texts.
  const bytesOf = (base64) => {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    const packed = atob(base64);
    const bytes = new Uint8Array(packed.length);
    for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
    return bytes;
  };
  const unpack = async (base64) => {
    const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
    const rows = (await new Response(stream).text()).split("\x1d");
    const header = JSON.parse(rows.shift());
    return { ...header, rows, cells: (i) => rows[i].split("\x1e") };
  };

  const ID = 0, SOUND = 1, REF = 2, RAW = 3;
  const hypOf = (system) => 4 + 3 * system, rawOf = (system) => 5 + 3 * system, opsOf = (system) => 6 + 3 * system;

  const browse = (data) => {
    const systems = data.systems;
    const several = systems.length > 1;
    const total = new Int32Array(data.count);
    for (const column of data.errors) column.forEach((errors, i) => { total[i] += errors ?? 0; });
    const rate = (errors, words) => (errors === null ? null : words ? errors / words : errors ? Infinity : 0);
    const all = Array.from({ length: data.count }, (_, i) => i);
    const state = { key: "errors", descending: true, page: 0, order: all };

    const keys = {
      id: (i) => data.rows[i].slice(0, data.rows[i].indexOf("\x1e")),
      lang: (i) => data.lang.names[data.lang.of[i]],
      voice: (i) => data.speaker.names[data.speaker.of[i]],
      seconds: (i) => data.seconds[i],
      words: (i) => data.words[i],
      errors: (i) => total[i],
    };
    systems.forEach((_, s) => { keys[`wer-${s}`] = (i) => rate(data.errors[s][i], data.words[i]) ?? -1; });

    const find = byId("find"), show = byId("show");
    const chosen = Object.fromEntries(["lang", "benchmark", "speaker"].map((name) => [name, byId(`by-${name}`)]));
    const labels = { lang: "all languages", benchmark: "all benchmarks", speaker: "all voices" };
    for (const [name, select] of Object.entries(chosen)) {
      select.append(make("option", { value: "" }, labels[name]));
      data[name].names.forEach((value, number) => select.append(make("option", { value: number }, value || "(none)")));
      select.hidden = data[name].names.length < 2;
    }
    if (!several) for (const value of ["differ", "agree"]) show.querySelector(`[value=${value}]`).remove();
    if (!data.sound) show.querySelector("[value=sound]").remove();

    const written = (cells) => systems.map((_, s) => cells[hypOf(s)]);
    const shows = {
      all: () => true,
      wrong: (i) => total[i] > 0,
      differ: (i) => new Set(written(data.cells(i))).size > 1,
      agree: (i) => total[i] > 0 && data.cells(i)[hypOf(0)] !== "" && new Set(written(data.cells(i))).size === 1,
      empty: (i) => data.words[i] > 0 && written(data.cells(i)).some((text, s) => !text && data.errors[s][i] !== null),
      long: (i) => written(data.cells(i)).some((text) => text.length > 2 * data.cells(i)[REF].length),
      sound: (i) => Boolean(data.cells(i)[SOUND]),
    };

    const select = () => {
      const query = find.value.trim().toLowerCase();
      const wanted = Object.entries(chosen).filter(([, element]) => element.value !== "");
      const shown = shows[show.value];
      const order = all.filter((i) =>
        wanted.every(([name, element]) => data[name].of[i] === Number(element.value))
        && (!query || data.rows[i].toLowerCase().includes(query)) && shown(i));
      const value = keys[state.key], sign = state.descending ? -1 : 1;
      if (state.key !== "errors" || !state.descending) { // as the rows come
        const values = new Map(order.map((i) => [i, value(i)]));
        order.sort((a, b) => sign * compare(values.get(a), values.get(b)) || a - b);
      }
      state.order = order;
      state.page = 0;
      draw();
    };

    const table = document.querySelector("table.rows");
    const heads = [];
    const header = make("tr");
    const columns = [["id", "Utterance"], ["lang", "Language"], ["seconds", "Seconds"], ["words", "Words"]];
    columns.push(...systems.map((name, s) => [`wer-${s}`, several ? name : "WER", s]), ["errors", "Errors"]);
    for (const [key, label, s] of columns) {
      const button = make("button", { type: "button", class: "sort" }, s === undefined ? label : `${label} %`);
      const name = key === "id" ? "name" : s === undefined ? "" : "head";
      const head = make("th", { scope: "col", class: name, "data-key": key, style: s === undefined ? null : colorOf(s) }, button);
      button.addEventListener("click", () => {
        state.descending = state.key === key ? !state.descending : !["id", "lang"].includes(key);
        state.key = key;
        mark(heads, head, state.descending);
        select();
      });
      heads.push(head);
      header.append(head);
    }
    table.tHead.append(header);
    mark(heads, heads.find((head) => head.dataset.key === "errors"), true);

    const heat = (value) => (value === null ? null : `--h:${Math.min(1, value / 0.4).toFixed(3)}`);
    const percent = (value) => (value === null ? "-" : value === Infinity ? "\u221e" : (100 * value).toFixed(0));
    const rates = (i) => systems.map((_, s) => {
      const value = rate(data.errors[s][i], data.words[i]);
      return make("td", { class: value === null ? "rate" : "rate heat", style: heat(value) }, percent(value));
    });

    const line = (i) => {
      const lang = keys.lang(i), cells = data.cells(i);
      const text = make("span", { class: "said", lang, dir: "auto" }, cells[REF] || "(nothing said)");
      const facts = [cells[ID], keys.voice(i), data.benchmark.names[data.benchmark.of[i]]].filter(Boolean);
      const id = make("span", { class: "quiet" }, `${cells[SOUND] ? "\u266a " : ""}${facts.join(" \u00b7 ")}`);
      const button = make("button", { type: "button", class: "open", "aria-expanded": "false" }, text, id);
      const row = make("tr", { class: "line", "data-i": i }, make("th", { scope: "row", class: "name" }, button));
      row.append(make("td", {}, lang), make("td", { class: "count" }, data.seconds[i] ? data.seconds[i].toFixed(1) : "-"));
      row.append(make("td", { class: "count" }, String(data.words[i])), ...rates(i), make("td", { class: "count" }, String(total[i])));
      button.addEventListener("click", () => toggle(row, button, i));
      return row;
    };

    const toggle = (row, button, i) => {
      const opened = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!opened));
      if (opened) row.nextElementSibling.remove();
      else row.after(make("tr", { class: "detail" }, make("td", { colspan: String(columns.length) }, detail(i))));
    };

    const detail = (i) => {
      const box = make("div", { class: "opened" });
      const cells = data.cells(i);
      if (cells[SOUND]) box.append(player(cells[SOUND]));
      box.append(aligned(i, cells), raws(i, cells));
      return box;
    };

    const player = (sound) => {
      const audio = make("audio", { controls: "", preload: "metadata" });
      if (sound.startsWith("#")) {
        const clip = byId(`clip-${sound.slice(1)}`);
        audio.src = `data:${clip.dataset.type};base64,${clip.textContent}`;
      } else audio.src = sound;
      return audio;
    };

    // One column a reference word; made-up words stand with the word before them.
    const aligned = (i, cells) => {
      const lang = keys.lang(i);
      const said = cells[REF].split(" ");
      const heard = systems.map((_, s) => (data.errors[s][i] === null ? null : placed(cells, s, said.length)));
      const labels = make("div", { class: "labels" }, make("span", {}, "said"));
      systems.forEach((name, s) => heard[s] && labels.append(make("span", { class: "head", style: colorOf(s), title: name }, name)));
      const body = make("div", { class: "cols", lang, dir: "auto" });
      said.forEach((word, at) => {
        const column = make("span", { class: "col" }, make("b", {}, word || "\u00a0"));
        for (const places of heard) if (places) column.append(make("span", {}, ...places[at]));
        body.append(column);
      });
      return make("div", { class: "aligned" }, labels, body);
    };

    const placed = (cells, s, count) => {
      const words = cells[hypOf(s)].split(" ");
      const places = Array.from({ length: count }, () => []);
      let ref = 0, hyp = 0;
      for (const [, op, times] of cells[opsOf(s)].matchAll(/([=sdi])(\d+)/g)) {
        for (let n = 0; n < Number(times); n++) {
          if (op === "i") places[Math.max(0, ref - 1)].push(make("ins", {}, words[hyp++]), " ");
          else if (op === "d") places[ref++].push(make("del", {}, "\u00b7"), " ");
          else places[ref++].push(op === "s" ? make("mark", {}, words[hyp++]) : words[hyp++], " ");
        }
      }
      return places;
    };

    const raws = (i, cells) => {
      const list = make("dl", { class: "raw" });
      const add = (name, text, style) => {
        const value = make("dd", { lang: keys.lang(i), dir: "auto" }, text.trim() || "(nothing)");
        list.append(make("div", {}, make("dt", { class: style ? "head" : "", style }, name), value));
      };
      add("as given", cells[RAW] || cells[REF], null);
      systems.forEach((name, s) => data.errors[s][i] !== null && add(name, cells[rawOf(s)] || cells[hypOf(s)], colorOf(s)));
      return list;
    };

    const draw = () => {
      const first = state.page * PAGE;
      const shown = state.order.slice(first, first + PAGE);
      table.tBodies[0].replaceChildren(...shown.map(line));
      const last = first + shown.length;
      byId("where").textContent = shown.length ? `${first + 1}\u2013${last} of ${state.order.length}` : "none found";
      byId("back").disabled = state.page === 0;
      byId("next").disabled = last >= state.order.length;
    };
    const turn = (step) => {
      state.page += step;
      draw();
      byId("browser").scrollIntoView();
    };
    byId("back").addEventListener("click", () => turn(-1));
    byId("next").addEventListener("click", () => turn(1));
    for (const element of [...Object.values(chosen), show]) element.addEventListener("change", select);
    let waiting = 0;
    find.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(select, 120);
    });
    for (const button of document.querySelectorAll("button.find")) {
      button.addEventListener("click", () => {
        find.value = button.dataset.find;
        chosen.lang.value = String(data.lang.names.indexOf(button.dataset.lang));
        show.value = "wrong";
        select();
        byId("browser").scrollIntoView();
      });
    }
    draw();
  };

  const packed = byId("rows");
  if (packed) {
    unpack(packed.textContent).then((data) => {
      byId("browser").hidden = false;
      browse(data);
      byId("waiting").remove();
      document.documentElement.dataset.ready = "rows";
    }).catch((error) => {
      byId("waiting").textContent = `The utterances cannot be shown: this browser is too old (${error}).`;
    });
  }
})();
