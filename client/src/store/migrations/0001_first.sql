-- Times are Unix milliseconds. Keys and hashes are 32 bytes.

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE servers (
    address TEXT NOT NULL PRIMARY KEY,
    key BLOB NOT NULL CHECK (length(key) = 32)
) STRICT, WITHOUT ROWID;

CREATE TABLE contacts (
    peer BLOB NOT NULL PRIMARY KEY CHECK (length(peer) = 32),
    -- The name that the contact goes by, and the one that this user gave; '' is none.
    given_name TEXT NOT NULL,
    own_name TEXT NOT NULL,
    first_met_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL,
    -- Endpoints at which the contact was seen last, separated by blanks: a hint.
    endpoints TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE conversations (
    row INTEGER NOT NULL PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
    -- 1: direct.
    kind INTEGER NOT NULL
) STRICT;

CREATE TABLE members (
    conversation INTEGER NOT NULL REFERENCES conversations (row),
    peer BLOB NOT NULL CHECK (length(peer) = 32),
    PRIMARY KEY (conversation, peer)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_peer ON members (peer);

-- Delivered messages; `row` counts them in order of arrival, parents before children.
CREATE TABLE messages (
    row INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
    conversation INTEGER NOT NULL REFERENCES conversations (row),
    author BLOB NOT NULL CHECK (length(author) = 32),
    depth INTEGER NOT NULL,
    label_ms INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    signed BLOB NOT NULL
) STRICT;

CREATE INDEX messages_in_order ON messages (conversation, depth, label_ms, id);

CREATE TABLE edges (
    child INTEGER NOT NULL REFERENCES messages (row),
    parent INTEGER NOT NULL REFERENCES messages (row),
    PRIMARY KEY (child, parent)
) STRICT, WITHOUT ROWID;

-- Messages that are nobody's parent.
CREATE TABLE heads (
    conversation INTEGER NOT NULL REFERENCES conversations (row),
    message INTEGER NOT NULL REFERENCES messages (row),
    PRIMARY KEY (conversation, message)
) STRICT, WITHOUT ROWID;

-- Messages from which no later message of the same author descends: one for each author, unless there are forks.
CREATE TABLE tips (
    conversation INTEGER NOT NULL REFERENCES conversations (row),
    author BLOB NOT NULL CHECK (length(author) = 32),
    message INTEGER NOT NULL REFERENCES messages (row),
    PRIMARY KEY (conversation, author, message)
) STRICT, WITHOUT ROWID;

-- Pairs of messages by one author of which neither descends from the other.
CREATE TABLE forks (
    first INTEGER NOT NULL REFERENCES messages (row),
    second INTEGER NOT NULL REFERENCES messages (row),
    PRIMARY KEY (first, second)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    message INTEGER NOT NULL REFERENCES messages (row),
    recipient BLOB NOT NULL CHECK (length(recipient) = 32),
    -- 0 pending, 10 sent, 20 refused, 30 delivered, 40 read.
    state INTEGER NOT NULL,
    UNIQUE (message, recipient)
) STRICT;

CREATE INDEX outbox_open ON outbox (recipient, sequence) WHERE state < 20;

-- Messages that are kept back until all their parents are delivered.
CREATE TABLE waiting (
    row INTEGER NOT NULL PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
    conversation INTEGER NOT NULL REFERENCES conversations (row),
    -- Who handed it in, and against whose quota it counts.
    bearer BLOB NOT NULL CHECK (length(bearer) = 32),
    signed BLOB NOT NULL
) STRICT;

CREATE INDEX waiting_by_bearer ON waiting (bearer);
CREATE INDEX waiting_by_conversation ON waiting (conversation);

-- What they wait for.
CREATE TABLE gaps (
    parent BLOB NOT NULL CHECK (length(parent) = 32),
    child INTEGER NOT NULL REFERENCES waiting (row) ON DELETE CASCADE,
    PRIMARY KEY (parent, child)
) STRICT, WITHOUT ROWID;

CREATE INDEX gaps_by_child ON gaps (child);
