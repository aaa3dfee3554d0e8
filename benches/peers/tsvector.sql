-- Makes a table searchable with PostgreSQL's own full-text search, in a table
-- beside it.
SET max_parallel_maintenance_workers = 2;
SET maintenance_work_mem = '256MB';
CREATE TABLE documents AS
SELECT id, setweight(to_tsvector('english', name), 'A')
    || to_tsvector('english', concat_ws(' ', status, note, summary, attributes::text)) AS words
FROM wide;
ALTER TABLE documents ADD PRIMARY KEY (id);
CREATE INDEX ON documents USING gin (words);
SELECT count(*) FROM documents WHERE words @@ to_tsquery('english', 'waterproof & tent');
