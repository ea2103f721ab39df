-- What writes have in common: ids for new rows, and request ids, which make a repeated write answer
-- the same and write nothing.

-- name: NextId
SELECT nextval(:sequence::text::regclass) AS id;

-- name: InsertRequest
-- Waits for a concurrent twin to commit or roll back; no row means that the id came before.
INSERT INTO requests (operation, scope_id, request_id, fingerprint, resource_id)
VALUES (:operation, :scope_id, :request_id, :fingerprint, :resource_id)
ON CONFLICT (operation, scope_id, request_id) DO NOTHING
RETURNING resource_id AS id, fingerprint;

-- name: GetRequest
SELECT resource_id AS id, fingerprint
FROM requests
WHERE operation = :operation AND scope_id = :scope_id AND request_id = :request_id;
