-- The index is merged a little with every commit (`search.rs`), and not much at a time by itself.
INSERT INTO search (search, rank) VALUES ('automerge', 0);
