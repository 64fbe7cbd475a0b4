package fault

import (
	"math/rand/v2"
	"slices"
	"time"
)

// work is everybody who works with a session of a role: functions, workflows,
// rules. Who administers or watches the cloud as root, as a user or from
// outside is left alone.
const work = "arn:aws:sts::*:assumed-role/*"

// Generate makes a random schedule that lasts for d. It is hard, but a system
// that retries with back-off and repeats safely survives it: outages are
// short, and what strikes for longer strikes seldom enough for a few retries
// to get through. The same seed and duration make the same schedule.
func Generate(seed uint64, d time.Duration) Schedule {
	g := generator{rand.New(rand.NewPCG(seed, uint64(d))), d}
	s := Schedule{Seed: seed, Rules: g.always()}
	for _, r := range g.sometimes() {
		if g.Float64() < 0.6 {
			s.Rules = append(s.Rules, r)
		}
	}
	return s
}

// Only is the schedule without rules of other kinds than those given.
func (s Schedule) Only(kinds []Kind) Schedule {
	s.Rules = slices.DeleteFunc(slices.Clone(s.Rules), func(r Rule) bool { return !slices.Contains(kinds, r.Kind) })
	return s
}

type generator struct {
	*rand.Rand
	whole time.Duration
}

// between draws a number.
func (g generator) between(low, high float64) float64 { return low + (high-low)*g.Float64() }

func (g generator) millis(low, high int) Duration {
	return Duration(time.Duration(low+g.IntN(high-low+1)) * time.Millisecond)
}

// moment is a time within the schedule, with some of it left.
func (g generator) moment() Duration {
	return Duration(time.Duration(g.between(0.05, 0.8) * float64(g.whole)).Round(time.Millisecond))
}

// always are the faults that no system may do without: what happened although
// the caller was told that it had not, and what happens twice. Writes are lost
// most often: a short schedule sees few of those that undo something.
func (g generator) always() []Rule {
	d := Duration(g.whole)
	return []Rule{
		{Name: "lost-writes", Kind: Error, Point: After, Service: "dynamodb", Operation: "UpdateItem", Principal: work, Probability: g.between(0.12, 0.24), For: d},
		{Name: "lost-puts", Kind: Error, Point: After, Service: "dynamodb", Operation: "PutItem", Principal: work, Probability: g.between(0.05, 0.15), For: d},
		{Name: "throttled-writes", Kind: Throttle, Service: "dynamodb", Principal: work, Operation: "*Item", Probability: g.between(0.03, 0.08), For: d},
		{Name: "events-twice", Kind: Duplicate, Service: "events", Operation: "deliver", Probability: g.between(0.1, 0.3), For: d},
		{Name: "functions-again", Kind: Duplicate, Service: "lambda", Probability: g.between(0.05, 0.15), For: d},
		{Name: "crashes-after", Kind: Crash, Point: After, Probability: g.between(0.02, 0.06), For: d},
	}
}

func (g generator) sometimes() []Rule {
	d := Duration(g.whole)
	rules := []Rule{
		{Name: "crashes-before", Kind: Crash, Point: Before, Probability: g.between(0.02, 0.06), For: d},
		{Name: "time-outs-after", Kind: Timeout, Point: After, Delay: g.millis(100, 500), Probability: g.between(0.01, 0.04), For: d},
		{Name: "time-outs-before", Kind: Timeout, Point: Before, Delay: g.millis(100, 500), Probability: g.between(0.01, 0.03), For: d},
		{Name: "tasks-again", Kind: Duplicate, Probability: g.between(0.02, 0.1), For: d},
		{Name: "notices-twice", Kind: Duplicate, Service: "sns", Operation: "deliver", Probability: g.between(0.1, 0.3), For: d},
		{Name: "late-events", Kind: Delay, Service: "events", Operation: "deliver", Delay: g.millis(20, 300), Probability: g.between(0.05, 0.3), For: d},
		{Name: "late-notices", Kind: Delay, Service: "sns", Operation: "deliver", Delay: g.millis(20, 300), Probability: g.between(0.05, 0.3), For: d},
		{Name: "reordered", Kind: Reorder, Probability: g.between(0.3, 0.8), For: d},
		{Name: "busy-functions", Kind: Throttle, Service: "lambda", Operation: "Invoke", Principal: work, Probability: g.between(0.02, 0.08), For: d},
		{Name: "failing-functions", Kind: Error, Service: "lambda", Operation: "Invoke", Principal: work, Probability: g.between(0.02, 0.06), For: d},
		{Name: "lost-starts", Kind: Error, Point: After, Service: "states", Operation: "StartExecution", Probability: g.between(0.05, 0.2), For: d},
		{Name: "throttled-starts", Kind: Throttle, Service: "states", Operation: "StartExecution", Probability: g.between(0.05, 0.2), For: d},
		{Name: "lost-events", Kind: Error, Point: After, Service: "events", Operation: "PutEvents", Probability: g.between(0.05, 0.2), For: d},
		{Name: "failing-notices", Kind: Error, Service: "sns", Operation: "Publish", Principal: work, Probability: g.between(0.05, 0.2), For: d},
		{Name: "lost-notices", Kind: Error, Point: After, Service: "sns", Operation: "Publish", Principal: work, Probability: g.between(0.05, 0.2), For: d},
		{Name: "throttled-queues", Kind: Throttle, Service: "sqs", Operation: "SendMessage", Probability: g.between(0.05, 0.2), For: d},
		{Name: "failing-streams", Kind: Error, Service: "dynamodb", Operation: "GetRecords", Principal: work, Probability: g.between(0.02, 0.1), For: d},
		{Name: "failing-api", Kind: Error, Service: "execute-api", Operation: "POST *", Probability: g.between(0.03, 0.1), For: d},
		{Name: "lost-answers", Kind: Error, Point: After, Service: "execute-api", Operation: "POST *", Probability: g.between(0.03, 0.1), For: d},
		{Name: "slow", Kind: Slow, Principal: work, Delay: g.millis(2, 80), Probability: g.between(0.02, 0.1), For: d},
	}
	return append(rules, g.outages()...)
}

// outages are short times in which something does not work at all.
func (g generator) outages() []Rule {
	rules := []Rule{
		{Name: "key-denied", Kind: Denied, Service: "kms", Principal: work, From: g.moment(), Count: 1 + g.IntN(4)},
		{Name: "table-down", Kind: Error, Service: "dynamodb", Operation: "UpdateItem", Principal: work, From: g.moment(), For: g.millis(50, 400), Count: 20},
		{Name: "sessions-down", Kind: Error, Service: "sts", Operation: "AssumeRole", From: g.moment(), Count: 1 + g.IntN(3)},
		{Name: "clock-forward", Kind: Clock, From: g.moment(), Delay: Duration(time.Duration(g.between(1, 600)) * time.Second)},
		{Name: "clock-back", Kind: Clock, From: g.moment(), Delay: -g.millis(10, 500)},
	}
	points := []Point{Before, After}
	for i := range 1 + int(g.whole/(30*time.Second)) {
		rules = append(rules, Rule{
			Name: "kill-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)), Kind: Kill, Point: points[g.IntN(2)],
			Service: []string{"dynamodb", "states", "events", "lambda", "sns"}[g.IntN(5)], Principal: work, From: g.moment(),
		})
	}
	return rules
}
