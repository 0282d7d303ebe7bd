-- revision 0006
BEGIN TRANSACTION;
CREATE TABLE agent_releases (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	target TEXT NOT NULL, 
	released_at DOUBLE NOT NULL, 
	version TEXT NOT NULL, 
	parent TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	path TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	score DOUBLE, 
	score_before DOUBLE, 
	systems INTEGER NOT NULL, 
	CONSTRAINT fk_agent_releases_target FOREIGN KEY(target) REFERENCES targets (name)
);
INSERT INTO "agent_releases" VALUES(1,'chat',1764000000.0,'2','1','def','agents/chat-2','fine-tuned',0.04,0.06,64);
CREATE TABLE agents (
	name TEXT NOT NULL, 
	version TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	info JSON NOT NULL, 
	first_seen_at DOUBLE NOT NULL, 
	CONSTRAINT pk_agents PRIMARY KEY (name, version)
);
INSERT INTO "agents" VALUES('ppo','1','abc','{"features":["rate"]}',1764000000.0);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0006');
CREATE TABLE alerts (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	target TEXT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	name TEXT NOT NULL, 
	severity TEXT NOT NULL, 
	summary TEXT NOT NULL, 
	labels JSON NOT NULL, 
	starts_at DOUBLE NOT NULL, 
	ends_at DOUBLE, 
	updated_at DOUBLE NOT NULL, 
	CONSTRAINT ck_alerts_severity CHECK (severity IN ('info', 'warning', 'critical')), 
	CONSTRAINT uq_alerts_fingerprint_starts_at UNIQUE (fingerprint, starts_at), 
	CONSTRAINT fk_alerts_target FOREIGN KEY(target) REFERENCES targets (name)
);
INSERT INTO "alerts" VALUES(1,'chat','f1','SLOMissed','critical','71%','{"tier":"slo"}',1764000000.0,NULL,1764000000.0);
CREATE TABLE anomalies (
	target TEXT NOT NULL, 
	series TEXT NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	value DOUBLE, 
	expected DOUBLE, 
	score DOUBLE, 
	anomalous BOOLEAN NOT NULL, 
	suppressed BOOLEAN NOT NULL, 
	CONSTRAINT pk_anomalies PRIMARY KEY (target, series, seen_at), 
	CONSTRAINT fk_anomalies_target FOREIGN KEY(target) REFERENCES targets (name)
);
INSERT INTO "anomalies" VALUES('chat','rate_rps',1764000000.0,9.0,1.0,4.0,1,0);
CREATE TABLE "controls" (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	target TEXT NOT NULL, 
	what TEXT NOT NULL, 
	who TEXT NOT NULL, 
	note TEXT NOT NULL, 
	asked_at DOUBLE NOT NULL, 
	taken_at DOUBLE, 
	payload JSON, 
	result TEXT, 
	experiment_id TEXT, 
	CONSTRAINT fk_controls_target FOREIGN KEY(target) REFERENCES targets (name), 
	CONSTRAINT ck_controls_what CHECK (what IN ('pause', 'resume', 'advisory', 'rollback', 'stop', 'experiment')), 
	CONSTRAINT fk_controls_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id)
);
INSERT INTO "controls" VALUES(1,'chat','pause','ana','',1764000000.0,NULL,NULL,NULL,NULL);
INSERT INTO "controls" VALUES(2,'chat','experiment','ben','a larger batch',1764000000.0,NULL,'{"changes":{"max_num_seqs":128},"plan":{"max_pairs":20}}',NULL,NULL);
CREATE TABLE decisions (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	target TEXT NOT NULL, 
	decided_at DOUBLE NOT NULL, 
	action TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	generation BIGINT, 
	settings_digest TEXT, 
	experiment_id TEXT, 
	outcome TEXT, 
	outcome_at DOUBLE, 
	outcome_note TEXT NOT NULL, 
	applied_generation BIGINT, term BIGINT, 
	CONSTRAINT ck_decisions_action CHECK (action IN ('HOLD', 'START', 'CONTINUE', 'PROMOTE', 'ROLLBACK')), 
	CONSTRAINT ck_decisions_outcome CHECK (outcome IN ('pending', 'applied', 'failed', 'unknown', 'advised')), 
	CONSTRAINT ck_decisions_settings_have_outcome CHECK ((outcome IS NULL) = (settings_digest IS NULL)), 
	CONSTRAINT fk_decisions_target FOREIGN KEY(target) REFERENCES targets (name), 
	CONSTRAINT fk_decisions_settings_digest FOREIGN KEY(settings_digest) REFERENCES settings (digest), 
	CONSTRAINT fk_decisions_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id)
);
INSERT INTO "decisions" VALUES(1,'chat',1764000121.0,'PROMOTE','accepted',NULL,'ef61c1f08da1926b',NULL,'applied',1764000122.0,'',4,NULL);
INSERT INTO "decisions" VALUES(2,'chat',1764000200.0,'START','next',4,'08c7a36fdea133a2',NULL,'pending',NULL,'',NULL,NULL);
CREATE TABLE experiments (
	id TEXT NOT NULL, 
	target TEXT NOT NULL, 
	control_digest TEXT NOT NULL, 
	treatment_digest TEXT NOT NULL, 
	"plan" JSON NOT NULL, 
	seed BIGINT NOT NULL, 
	proposer TEXT NOT NULL, 
	rationale TEXT NOT NULL, 
	predicted_effect DOUBLE, 
	phase TEXT NOT NULL, 
	started_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	verdict TEXT, 
	reason TEXT NOT NULL, 
	pairs INTEGER NOT NULL, 
	effect DOUBLE, 
	low DOUBLE, 
	high DOUBLE, 
	confidence DOUBLE, explanation JSON, 
	CONSTRAINT pk_experiments PRIMARY KEY (id), 
	CONSTRAINT ck_experiments_phase CHECK (phase IN ('planned', 'washout', 'counting', 'draining', 'closed')), 
	CONSTRAINT ck_experiments_verdict CHECK (verdict IN ('ACCEPTED', 'REJECTED', 'HARMFUL', 'INCONCLUSIVE', 'ABORTED')), 
	CONSTRAINT ck_experiments_closed_has_verdict CHECK ((phase = 'closed') = (verdict IS NOT NULL)), 
	CONSTRAINT fk_experiments_target FOREIGN KEY(target) REFERENCES targets (name), 
	CONSTRAINT fk_experiments_control_digest FOREIGN KEY(control_digest) REFERENCES settings (digest), 
	CONSTRAINT fk_experiments_treatment_digest FOREIGN KEY(treatment_digest) REFERENCES settings (digest)
);
INSERT INTO "experiments" VALUES('exp-1','chat','08c7a36fdea133a2','ef61c1f08da1926b','{"slot_s":60.0,"washout_min_s":5.0,"washout_max_s":30.0,"cooldown_s":5.0,"max_pairs":30,"min_requests_per_slot":10,"alpha":0.05,"prior_sd":0.1,"outcome":"attainment","limits":{"max_error_share":0.05,"min_requests":10,"tail_factor":3.0,"max_temperature_c":"Infinity","max_out_of_memory":0},"design":"switchback","guardrails":[{"measure":"error_share","margin":0.02,"prior_sd":0.1}],"covariates":["offered_load"],"price_per_hour":"NaN","confirms":"","priced_per_device":false,"control_devices":1.0,"treatment_devices":1.0,"restart_s":0.0,"slot_restarts":10.0,"probe_items":0}',7,'ppo','the batch is full',0.2,'closed',1764000000.0,1764000120.0,'ACCEPTED','E ≥ 20',1,0.309,0.01,9e999,0.95,'{"seen":{"rate_rps":4.0},"effect":0.2,"low":0.05,"high":"Infinity","incumbent":{"attainment":0.6},"candidate":{"attainment":0.8},"nearest":[{"experiment":"exp-0","changes":{"max_num_seqs":48},"effect":0.1,"low":0.02,"high":0.2,"verdict":"ACCEPTED","distance":1}],"method":"policy","considered":12,"model_note":"within 20% over 40 checks"}');
CREATE TABLE fine_tunes (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	target TEXT NOT NULL, 
	name TEXT NOT NULL, 
	parent TEXT NOT NULL, 
	versions JSON NOT NULL, 
	planned_at DOUBLE NOT NULL, 
	changed_at DOUBLE NOT NULL, 
	stage TEXT NOT NULL, 
	examples INTEGER NOT NULL, 
	replayed INTEGER NOT NULL, 
	attempts INTEGER NOT NULL, 
	seconds DOUBLE, 
	update_s DOUBLE, 
	new_before DOUBLE, 
	new_after DOUBLE, 
	old_before DOUBLE, 
	old_after DOUBLE, 
	agreement_before DOUBLE, 
	agreement_after DOUBLE, 
	pairing DOUBLE, 
	reason TEXT NOT NULL, 
	request_id BIGINT, 
	experiment_id TEXT, 
	CONSTRAINT ck_fine_tunes_stage CHECK (stage IN ('planned', 'training', 'evaluated', 'offered', 'promoted', 'refused', 'undecided', 'failed', 'rolled_back')), 
	CONSTRAINT fk_fine_tunes_target FOREIGN KEY(target) REFERENCES targets (name), 
	CONSTRAINT fk_fine_tunes_request_id FOREIGN KEY(request_id) REFERENCES controls (id), 
	CONSTRAINT fk_fine_tunes_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id)
);
INSERT INTO "fine_tunes" VALUES(1,'chat','v1-a','base','[1]',1764000000.0,1764000009.0,'promoted',80,20,1,8.0,NULL,2.0,1.8,1.5,1.52,0.5,0.6,NULL,'',NULL,'exp-1');
CREATE TABLE forecasts (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	target TEXT NOT NULL, 
	series TEXT NOT NULL, 
	made_at DOUBLE NOT NULL, 
	model TEXT NOT NULL, 
	note TEXT NOT NULL, 
	points JSON NOT NULL, 
	CONSTRAINT fk_forecasts_target FOREIGN KEY(target) REFERENCES targets (name)
);
INSERT INTO "forecasts" VALUES(1,'chat','rate_rps',1764000000.0,'seasonal','','[[1764000000.0,1.0,0.5,1.5]]');
CREATE TABLE heartbeats (
	daemon_id TEXT NOT NULL, 
	target TEXT NOT NULL, 
	beat_at DOUBLE NOT NULL, 
	sentence TEXT NOT NULL, 
	mode TEXT NOT NULL, 
	cycles BIGINT NOT NULL, 
	CONSTRAINT pk_heartbeats PRIMARY KEY (daemon_id, target), 
	CONSTRAINT ck_heartbeats_mode CHECK (mode IN ('active', 'advisory', 'paused')), 
	CONSTRAINT fk_heartbeats_target FOREIGN KEY(target) REFERENCES targets (name)
);
INSERT INTO "heartbeats" VALUES('d1','chat',1764000000.0,'held: paused','paused',1);
CREATE TABLE incumbents (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	target TEXT NOT NULL, 
	settings_digest TEXT NOT NULL, 
	since_at DOUBLE NOT NULL, 
	until_at DOUBLE, 
	why TEXT NOT NULL, 
	experiment_id TEXT, 
	CONSTRAINT fk_incumbents_target FOREIGN KEY(target) REFERENCES targets (name), 
	CONSTRAINT fk_incumbents_settings_digest FOREIGN KEY(settings_digest) REFERENCES settings (digest), 
	CONSTRAINT fk_incumbents_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id)
);
INSERT INTO "incumbents" VALUES(1,'chat','08c7a36fdea133a2',1764000000.0,1764000122.0,'found on the target',NULL);
INSERT INTO "incumbents" VALUES(2,'chat','ef61c1f08da1926b',1764000122.0,NULL,'accepted','exp-1');
CREATE TABLE intakes (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	target TEXT NOT NULL, 
	taken_at DOUBLE NOT NULL, 
	source TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	version INTEGER, 
	read INTEGER NOT NULL, 
	kept INTEGER NOT NULL, 
	exact_duplicates INTEGER NOT NULL, 
	near_duplicates INTEGER NOT NULL, 
	dropped JSON NOT NULL, 
	seconds DOUBLE, 
	refused TEXT NOT NULL, 
	CONSTRAINT fk_intakes_target FOREIGN KEY(target) REFERENCES targets (name)
);
INSERT INTO "intakes" VALUES(1,'chat',1764000000.0,'a.jsonl','ab12',1,100,60,25,12,'{"empty":3}',NULL,'');
CREATE TABLE leader_terms (
	term INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	daemon_id TEXT NOT NULL, 
	began_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	ended_how TEXT
);
INSERT INTO "leader_terms" VALUES(1,'autotuner','host:1',1764000000.0,NULL,NULL);
CREATE TABLE looks (
	experiment_id TEXT NOT NULL, 
	look_index INTEGER NOT NULL, 
	pairs INTEGER NOT NULL, 
	log_e_benefit DOUBLE, 
	log_e_harm DOUBLE, 
	confidence DOUBLE, 
	effect DOUBLE, 
	low DOUBLE, 
	high DOUBLE, guardrails JSON DEFAULT '[]' NOT NULL, 
	CONSTRAINT pk_looks PRIMARY KEY (experiment_id, look_index), 
	CONSTRAINT fk_looks_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id)
);
INSERT INTO "looks" VALUES('exp-1',0,1,3.1,-2.0,0.95,0.309,0.01,9e999,'[{"measure":"error_share","pairs":1,"log_e_kept":0.4,"log_e_broken":-0.4,"effect":0.05,"low":-0.1,"high":"Infinity"}]');
CREATE TABLE model_checks (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	target TEXT NOT NULL, 
	checked_at DOUBLE NOT NULL, 
	figure TEXT NOT NULL, 
	predicted DOUBLE, 
	measured DOUBLE, 
	settings_digest TEXT, 
	experiment_id TEXT, 
	CONSTRAINT fk_model_checks_target FOREIGN KEY(target) REFERENCES targets (name), 
	CONSTRAINT fk_model_checks_settings_digest FOREIGN KEY(settings_digest) REFERENCES settings (digest), 
	CONSTRAINT fk_model_checks_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id)
);
INSERT INTO "model_checks" VALUES(1,'chat',1764000000.0,'ttft_s',0.5,0.6,'08c7a36fdea133a2',NULL);
INSERT INTO "model_checks" VALUES(2,'chat',1764000130.0,'effect',0.2,0.309,'ef61c1f08da1926b','exp-1');
CREATE TABLE outbox (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	receiver TEXT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	status TEXT NOT NULL, 
	occasion_at DOUBLE NOT NULL, 
	payload JSON NOT NULL, 
	attempts INTEGER NOT NULL, 
	created_at DOUBLE NOT NULL, 
	next_at DOUBLE, 
	delivered_at DOUBLE, 
	last_error TEXT, 
	CONSTRAINT ck_outbox_status CHECK (status IN ('firing', 'resolved')), 
	CONSTRAINT uq_outbox_receiver_fingerprint_status_occasion_at UNIQUE (receiver, fingerprint, status, occasion_at)
);
INSERT INTO "outbox" VALUES(1,'hook','f1','firing',1764000000.0,'{"summary":"71%"}',0,1764000000.0,1764000000.0,NULL,NULL);
CREATE TABLE pairs (
	experiment_id TEXT NOT NULL, 
	pair_index INTEGER NOT NULL, 
	difference DOUBLE, 
	control JSON NOT NULL, 
	treatment JSON NOT NULL, adjustment DOUBLE, 
	CONSTRAINT pk_pairs PRIMARY KEY (experiment_id, pair_index), 
	CONSTRAINT fk_pairs_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id)
);
INSERT INTO "pairs" VALUES('exp-1',0,0.309,'{"requests":20,"good":12,"failed":1,"straddlers":2,"counted_s":50.0,"ttft_p95_s":0.9,"gap_p95_s":"NaN","e2el_mean_s":2.5,"prompt_tokens":2000,"output_tokens":900,"e2el_p95_s":"NaN","ttft_mean_s":"NaN","energy_j":"NaN","quality":"NaN","feedback":"NaN","feedback_count":0,"out_of_memory":0,"temperature_max_c":"NaN"}','{"requests":22,"good":20,"failed":0,"straddlers":1,"counted_s":50.0,"ttft_p95_s":0.6,"gap_p95_s":0.09,"e2el_mean_s":2.0,"prompt_tokens":2100,"output_tokens":950,"e2el_p95_s":2.6,"ttft_mean_s":"NaN","energy_j":900.0,"quality":0.97,"feedback":"NaN","feedback_count":0,"out_of_memory":0,"temperature_max_c":"NaN"}',0.02);
CREATE TABLE quarantines (
	target TEXT NOT NULL, 
	settings_digest TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	since_at DOUBLE NOT NULL, 
	until_at DOUBLE, 
	CONSTRAINT pk_quarantines PRIMARY KEY (target, settings_digest), 
	CONSTRAINT fk_quarantines_target FOREIGN KEY(target) REFERENCES targets (name), 
	CONSTRAINT fk_quarantines_settings_digest FOREIGN KEY(settings_digest) REFERENCES settings (digest)
);
INSERT INTO "quarantines" VALUES('chat','08c7a36fdea133a2','worse',1764000000.0,1764009000.0);
CREATE TABLE samples (
	target TEXT NOT NULL, 
	series TEXT NOT NULL, 
	bucket_at DOUBLE NOT NULL, 
	value DOUBLE, 
	CONSTRAINT pk_samples PRIMARY KEY (target, series, bucket_at), 
	CONSTRAINT fk_samples_target FOREIGN KEY(target) REFERENCES targets (name)
);
INSERT INTO "samples" VALUES('chat','rate_rps',1764000000.0,1.5);
INSERT INTO "samples" VALUES('chat','rate_rps',1764000060.0,2.0);
CREATE TABLE settings (
	digest TEXT NOT NULL, 
	knobs JSON NOT NULL, 
	first_seen_at DOUBLE NOT NULL, 
	CONSTRAINT pk_settings PRIMARY KEY (digest)
);
INSERT INTO "settings" VALUES('08c7a36fdea133a2','{"max_num_seqs":32,"schedule_policy":"fcfs"}',1764000000.0);
INSERT INTO "settings" VALUES('ef61c1f08da1926b','{"max_num_seqs":64,"schedule_policy":"fcfs"}',1764000000.0);
CREATE TABLE silences (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	target TEXT NOT NULL, 
	alert TEXT NOT NULL, 
	labels JSON NOT NULL, 
	author TEXT NOT NULL, 
	comment TEXT NOT NULL, 
	starts_at DOUBLE NOT NULL, 
	ends_at DOUBLE NOT NULL
);
INSERT INTO "silences" VALUES(1,'chat','SLOMissed','{"tier":"slo"}','ana','moving racks',1764000000.0,1764007200.0);
CREATE TABLE slots (
	experiment_id TEXT NOT NULL, 
	slot_index INTEGER NOT NULL, 
	arm TEXT NOT NULL, 
	generation BIGINT NOT NULL, 
	started_at DOUBLE NOT NULL, 
	counted_from_at DOUBLE, 
	ended_at DOUBLE, 
	requests INTEGER, 
	good INTEGER, 
	failed INTEGER, 
	straddlers INTEGER, 
	counted_s DOUBLE, 
	attainment DOUBLE, 
	goodput_rps DOUBLE, 
	ttft_p95_s DOUBLE, 
	gap_p95_s DOUBLE, 
	e2el_mean_s DOUBLE, 
	prompt_tokens BIGINT, 
	output_tokens BIGINT, 
	excluded TEXT, lane INTEGER DEFAULT '0' NOT NULL, lanes INTEGER DEFAULT '1' NOT NULL, ttft_mean_s DOUBLE, e2el_p95_s DOUBLE, energy_j DOUBLE, quality DOUBLE, feedback DOUBLE, feedback_count INTEGER, out_of_memory INTEGER, temperature_max_c DOUBLE, 
	CONSTRAINT pk_slots PRIMARY KEY (experiment_id, slot_index), 
	CONSTRAINT ck_slots_arm CHECK (arm IN ('control', 'treatment')), 
	CONSTRAINT fk_slots_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id)
);
INSERT INTO "slots" VALUES('exp-1',0,'control',2,1764000000.0,1764000005.0,1764000060.0,20,12,1,2,50.0,0.6,0.24,0.9,NULL,2.5,2000,900,NULL,0,1,NULL,NULL,NULL,NULL,NULL,0,0,NULL);
INSERT INTO "slots" VALUES('exp-1',1,'treatment',3,1764000060.0,1764000065.0,1764000120.0,22,20,0,1,50.0,9.0909090909090906063e-01,0.4,0.6,0.09,2.0,2100,950,NULL,0,1,NULL,2.6,900.0,0.97,NULL,0,0,NULL);
CREATE TABLE targets (
	name TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	url TEXT NOT NULL, 
	info JSON NOT NULL, 
	first_seen_at DOUBLE NOT NULL, 
	last_seen_at DOUBLE NOT NULL, 
	CONSTRAINT pk_targets PRIMARY KEY (name)
);
INSERT INTO "targets" VALUES('chat','worker','http://127.0.0.1:8000','{}',1764000000.0,1764000000.0);
CREATE INDEX ix_outbox_next_at ON outbox (next_at);
CREATE INDEX ix_experiments_target_started_at ON experiments (target, started_at);
CREATE INDEX ix_experiments_phase ON experiments (phase);
CREATE INDEX ix_samples_bucket_at ON samples (bucket_at);
CREATE INDEX ix_forecasts_target_series_made_at ON forecasts (target, series, made_at);
CREATE INDEX ix_anomalies_target_seen_at ON anomalies (target, seen_at);
CREATE INDEX ix_alerts_target_starts_at ON alerts (target, starts_at);
CREATE INDEX ix_decisions_target_decided_at ON decisions (target, decided_at);
CREATE INDEX ix_decisions_unfinished ON decisions (target) WHERE outcome IN ('pending', 'unknown');
CREATE INDEX ix_decisions_experiment_id ON decisions (experiment_id);
CREATE UNIQUE INDEX uq_incumbents_live ON incumbents (target) WHERE until_at IS NULL;
CREATE INDEX ix_incumbents_target_since_at ON incumbents (target, since_at);
CREATE VIEW v_live_settings AS 
        SELECT i.target, s.knobs, strftime('%Y-%m-%dT%H:%M:%SZ', i.since_at, 'unixepoch') AS since, i.why,
               i.experiment_id, i.settings_digest AS digest
        FROM incumbents i JOIN settings s ON s.digest = i.settings_digest
        WHERE i.until_at IS NULL;
CREATE VIEW v_accepted_changes AS 
        SELECT e.id AS experiment_id, e.target, strftime('%Y-%m-%dT%H:%M:%SZ', e.ended_at, 'unixepoch') AS accepted,
               c.knobs AS settings_before, t.knobs AS settings_after, e.pairs AS n, e.effect,
               e.low, e.high, e.confidence, e.reason, e.proposer, e.rationale,
               e.ended_at AS accepted_at
        FROM experiments e
        JOIN settings c ON c.digest = e.control_digest
        JOIN settings t ON t.digest = e.treatment_digest
        WHERE e.verdict = 'ACCEPTED';
CREATE VIEW v_alerts AS 
        SELECT a.id, a.target, a.name, a.severity, a.summary, strftime('%Y-%m-%dT%H:%M:%SZ', a.starts_at, 'unixepoch') AS starts,
               strftime('%Y-%m-%dT%H:%M:%SZ', a.ends_at, 'unixepoch') AS ends,
               CASE WHEN a.ends_at IS NULL THEN 'firing' ELSE 'resolved' END AS status,
               ((julianday('now') - 2440587.5) * 86400.0) - a.starts_at AS age_s, a.labels, a.fingerprint, a.starts_at, a.ends_at
        FROM alerts a;
CREATE INDEX ix_controls_target_taken_at ON controls (target, taken_at);
CREATE VIEW v_experiments AS 
        SELECT e.id, e.target, strftime('%Y-%m-%dT%H:%M:%SZ', e.started_at, 'unixepoch') AS started,
               strftime('%Y-%m-%dT%H:%M:%SZ', e.ended_at, 'unixepoch') AS ended, e.phase,
               CASE WHEN e.control_digest = e.treatment_digest THEN 'A/A'
                    WHEN coalesce(e.plan ->> 'confirms', '') <> '' THEN 'confirm'
                    ELSE 'A/B' END AS kind,
               coalesce(e.plan ->> 'design', 'switchback') AS design,
               coalesce(e.plan ->> 'outcome', 'attainment') AS outcome,
               e.pairs AS n, e.effect, e.low, e.high,
               e.confidence, e.verdict, e.reason, c.knobs AS control, t.knobs AS treatment,
               e.proposer, e.rationale, e.predicted_effect,
               nullif(e.plan ->> 'confirms', '') AS confirms, e.plan, e.seed,
               e.started_at, e.ended_at
        FROM experiments e
        JOIN settings c ON c.digest = e.control_digest
        JOIN settings t ON t.digest = e.treatment_digest;
CREATE VIEW v_slots AS 
        SELECT e.target, s.experiment_id, s.slot_index, s.slot_index / s.lanes AS period,
               s.slot_index / s.lanes / 2 AS pair_index, s.lane, s.arm,
               s.generation, strftime('%Y-%m-%dT%H:%M:%SZ', s.started_at, 'unixepoch') AS started,
               strftime('%Y-%m-%dT%H:%M:%SZ', s.counted_from_at, 'unixepoch') AS counted_from, strftime('%Y-%m-%dT%H:%M:%SZ', s.ended_at, 'unixepoch') AS ended,
               s.counted_s, s.requests, s.good, s.failed, s.straddlers, s.attainment,
               s.goodput_rps, s.ttft_mean_s, s.ttft_p95_s, s.gap_p95_s, s.e2el_mean_s,
               s.e2el_p95_s, s.prompt_tokens, s.output_tokens, s.energy_j, s.quality, s.feedback,
               s.feedback_count, s.out_of_memory, s.temperature_max_c,
               s.excluded, s.started_at, s.counted_from_at, s.ended_at
        FROM slots s JOIN experiments e ON e.id = s.experiment_id;
CREATE VIEW v_guardrails AS 
        SELECT e.target, l.experiment_id, l.look_index, l.pairs AS n,
               g.value ->> 'measure' AS measure, CASE (m.value ->> 'margin') WHEN 'NaN' THEN NULL WHEN 'Infinity' THEN 9e999
                 WHEN '-Infinity' THEN -9e999 ELSE CAST((m.value ->> 'margin') AS REAL) END AS margin,
               CAST(g.value ->> 'pairs' AS INTEGER) AS measured,
               CASE (g.value ->> 'effect') WHEN 'NaN' THEN NULL WHEN 'Infinity' THEN 9e999
                 WHEN '-Infinity' THEN -9e999 ELSE CAST((g.value ->> 'effect') AS REAL) END AS effect, CASE (g.value ->> 'low') WHEN 'NaN' THEN NULL WHEN 'Infinity' THEN 9e999
                 WHEN '-Infinity' THEN -9e999 ELSE CAST((g.value ->> 'low') AS REAL) END AS low,
               CASE (g.value ->> 'high') WHEN 'NaN' THEN NULL WHEN 'Infinity' THEN 9e999
                 WHEN '-Infinity' THEN -9e999 ELSE CAST((g.value ->> 'high') AS REAL) END AS high, CASE (g.value ->> 'log_e_kept') WHEN 'NaN' THEN NULL WHEN 'Infinity' THEN 9e999
                 WHEN '-Infinity' THEN -9e999 ELSE CAST((g.value ->> 'log_e_kept') AS REAL) END AS log_e_kept,
               CASE (g.value ->> 'log_e_broken') WHEN 'NaN' THEN NULL WHEN 'Infinity' THEN 9e999
                 WHEN '-Infinity' THEN -9e999 ELSE CAST((g.value ->> 'log_e_broken') AS REAL) END AS log_e_broken
        FROM looks l JOIN experiments e ON e.id = l.experiment_id
        CROSS JOIN json_each(l.guardrails) g
        LEFT JOIN json_each(e.plan -> 'guardrails') m
          ON m.value ->> 'measure' = g.value ->> 'measure';
CREATE VIEW v_requests AS 
        SELECT r.id, r.target, r.what, r.who, r.note, strftime('%Y-%m-%dT%H:%M:%SZ', r.asked_at, 'unixepoch') AS asked,
               strftime('%Y-%m-%dT%H:%M:%SZ', r.taken_at, 'unixepoch') AS taken, r.payload, r.result, r.experiment_id,
               e.phase, e.verdict, e.reason, r.asked_at, r.taken_at
        FROM controls r LEFT JOIN experiments e ON e.id = r.experiment_id;
CREATE INDEX ix_silences_ends_at ON silences (ends_at);
CREATE INDEX ix_model_checks_target_checked_at ON model_checks (target, checked_at);
CREATE INDEX ix_agent_releases_target ON agent_releases (target);
CREATE VIEW v_silences AS 
        SELECT s.id, s.author, s.comment, nullif(s.target, '') AS target,
               nullif(s.alert, '') AS alert, s.labels, strftime('%Y-%m-%dT%H:%M:%SZ', s.starts_at, 'unixepoch') AS starts,
               strftime('%Y-%m-%dT%H:%M:%SZ', s.ends_at, 'unixepoch') AS ends,
               CASE WHEN s.ends_at <= ((julianday('now') - 2440587.5) * 86400.0) THEN 'ended'
                    WHEN s.starts_at <= ((julianday('now') - 2440587.5) * 86400.0) THEN 'active' ELSE 'waits' END AS status,
               s.starts_at, s.ends_at
        FROM silences s;
CREATE VIEW v_model_checks AS 
        SELECT c.id, c.target, strftime('%Y-%m-%dT%H:%M:%SZ', c.checked_at, 'unixepoch') AS checked, c.figure, c.predicted, c.measured,
               CASE WHEN c.predicted > 0 AND c.measured > 0
                    THEN max(c.predicted / c.measured, c.measured / c.predicted) - 1
               END AS error,
               s.knobs AS settings, c.experiment_id, c.checked_at
        FROM model_checks c LEFT JOIN settings s ON s.digest = c.settings_digest;
CREATE VIEW v_agents AS 
        SELECT r.id, r.target, strftime('%Y-%m-%dT%H:%M:%SZ', r.released_at, 'unixepoch') AS released, r.version, r.parent, r.reason,
               r.score, r.score_before, r.systems,
               CASE WHEN r.id = (SELECT max(l.id) FROM agent_releases l WHERE l.target = r.target)
                    THEN 'in use' ELSE 'replaced' END AS status,
               r.digest, r.path, r.released_at
        FROM agent_releases r;
CREATE UNIQUE INDEX uq_leader_terms_in_force ON leader_terms (name) WHERE ended_at IS NULL;
CREATE INDEX ix_intakes_target_taken_at ON intakes (target, taken_at);
CREATE UNIQUE INDEX uq_fine_tunes_target_name ON fine_tunes (target, name);
CREATE VIEW v_intakes AS 
        SELECT i.id, i.target, strftime('%Y-%m-%dT%H:%M:%SZ', i.taken_at, 'unixepoch') AS taken, i.source, i.version, i.read, i.kept,
               i.exact_duplicates, i.near_duplicates, i.dropped, nullif(i.refused, '') AS refused,
               i.seconds, i.sha256, i.taken_at
        FROM intakes i;
CREATE VIEW v_fine_tunes AS 
        SELECT f.id, f.target, f.name, f.parent, f.stage, strftime('%Y-%m-%dT%H:%M:%SZ', f.planned_at, 'unixepoch') AS planned,
               strftime('%Y-%m-%dT%H:%M:%SZ', f.changed_at, 'unixepoch') AS changed, f.versions, f.examples, f.replayed, f.attempts,
               f.seconds, f.update_s, f.new_before, f.new_after, f.old_before, f.old_after,
               f.old_after - f.old_before AS forgetting, f.agreement_before, f.agreement_after,
               f.pairing,
               f.reason, f.experiment_id, e.verdict, e.effect, e.confidence,
               f.planned_at, f.changed_at
        FROM fine_tunes f LEFT JOIN experiments e ON e.id = f.experiment_id;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('controls',2);
INSERT INTO "sqlite_sequence" VALUES('incumbents',2);
INSERT INTO "sqlite_sequence" VALUES('decisions',2);
INSERT INTO "sqlite_sequence" VALUES('forecasts',1);
INSERT INTO "sqlite_sequence" VALUES('alerts',1);
INSERT INTO "sqlite_sequence" VALUES('outbox',1);
INSERT INTO "sqlite_sequence" VALUES('silences',1);
INSERT INTO "sqlite_sequence" VALUES('model_checks',2);
INSERT INTO "sqlite_sequence" VALUES('agent_releases',1);
INSERT INTO "sqlite_sequence" VALUES('intakes',1);
INSERT INTO "sqlite_sequence" VALUES('fine_tunes',1);
INSERT INTO "sqlite_sequence" VALUES('leader_terms',1);
COMMIT;
