-- Links that this user has given out. Their secrets are not kept, only what they are known by.
CREATE TABLE links (
    row INTEGER NOT NULL PRIMARY KEY,
    mark BLOB NOT NULL UNIQUE CHECK (length(mark) = 32),
    -- Into which room it leads; NULL: to this user alone.
    room BLOB CHECK (length(room) = 32),
    made_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    -- How many people may come by it.
    uses INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Who came by them.
CREATE TABLE guests (
    link INTEGER NOT NULL REFERENCES links (row) ON DELETE CASCADE,
    peer BLOB NOT NULL CHECK (length(peer) = 32),
    came_ms INTEGER NOT NULL,
    PRIMARY KEY (link, peer)
) STRICT, WITHOUT ROWID;

-- Links of others that this user follows until the inviter has answered, and the invitation to a room has come.
CREATE TABLE joins (
    secret BLOB NOT NULL PRIMARY KEY CHECK (length(secret) = 16),
    inviter BLOB NOT NULL CHECK (length(inviter) = 32),
    expires_ms INTEGER NOT NULL,
    -- The room that the inviter has let this user into; NULL until then.
    room BLOB CHECK (length(room) = 32)
) STRICT, WITHOUT ROWID;

-- Contacts whose keys this user has compared.
CREATE TABLE verified (
    peer BLOB NOT NULL PRIMARY KEY CHECK (length(peer) = 32),
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Names on servers as they were found first.
CREATE TABLE found_names (
    server TEXT NOT NULL,
    name TEXT NOT NULL,
    peer BLOB NOT NULL CHECK (length(peer) = 32),
    found_ms INTEGER NOT NULL,
    PRIMARY KEY (server, name)
) STRICT, WITHOUT ROWID;
