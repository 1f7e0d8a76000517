-- How much each member has said in a room: the signed bytes of their delivered messages, but for the room's events.
CREATE TABLE shares (
    conversation INTEGER NOT NULL REFERENCES conversations (row),
    author BLOB NOT NULL CHECK (length(author) = 32),
    bytes INTEGER NOT NULL,
    PRIMARY KEY (conversation, author)
) STRICT, WITHOUT ROWID;

INSERT INTO shares (conversation, author, bytes)
SELECT m.conversation, m.author, sum(length(m.signed)) FROM messages m
JOIN conversations c ON c.row = m.conversation
WHERE c.kind = 2 AND m.kind NOT BETWEEN 16 AND 23 GROUP BY m.conversation, m.author;

-- Members who have built on more of an author's messages than may be kept: each lets that author say as much once more.
CREATE TABLE vouchers (
    conversation INTEGER NOT NULL REFERENCES conversations (row),
    author BLOB NOT NULL CHECK (length(author) = 32),
    voucher BLOB NOT NULL CHECK (length(voucher) = 32),
    PRIMARY KEY (conversation, author, voucher)
) STRICT, WITHOUT ROWID;
