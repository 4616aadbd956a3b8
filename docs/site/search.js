// In the Chinese book. mdBook's search drops every character that is not ASCII (rust-lang/mdBook#1081), so it finds nothing
// there. This one looks for what is typed, as it is, in the documents of mdBook's own index.
(() => {
  'use strict';

  /** Characters of the text before and behind what was found. */
  const AROUND = 40;

  const excerpt = (body, words) => {
    const places = words.map(word => body.toLowerCase().indexOf(word)).filter(place => place >= 0);
    const place = Math.min(...places, body.length);
    return place === body.length ? body.slice(0, 2 * AROUND) : body.slice(Math.max(0, place - AROUND), place + AROUND);
  };

  window.elasticlunr.Index.load = ({ documentStore: { docs } }) => ({
    search(text) {
      const words = text.toLowerCase().split(/\s+/).filter(word => word !== '');
      const found = [];
      for (const [ref, doc] of Object.entries(docs)) {
        const title = doc.title.toLowerCase();
        const all = `${title}\n${doc.body.toLowerCase()}`;
        if (words.length > 0 && words.every(word => all.includes(word))) {
          const score = words.filter(word => title.includes(word)).length;
          found.push({ ref, score, doc: { ...doc, body: excerpt(doc.body, words) } });
        }
      }
      return found.sort((one, other) => other.score - one.score);
    },
  });
})();
