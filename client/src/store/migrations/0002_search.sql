-- Words of delivered messages, found by `messages.row`. `marks` holds what a search can be narrowed to: see
-- `store/search.rs`. The texts themselves are in `messages.signed` alone.
CREATE VIRTUAL TABLE search USING fts5 (
    body, marks,
    content = '', contentless_delete = 1,
    prefix = '2 3 4',
    tokenize = 'unicode61 remove_diacritics 2'
);

-- Up to which message they are in it: one row.
CREATE TABLE search_progress (
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    row INTEGER NOT NULL
) STRICT;

INSERT INTO search_progress (only, row) VALUES (1, 0);
