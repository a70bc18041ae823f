package chaos

import (
	"slices"
	"syscall"
	"time"
)

// fault is something that is done to the cluster, and what it excuses.
type fault struct {
	name string
	do   func()
}

func (r *run) faults() []fault {
	return []fault{
		{"kill", r.killPod},
		{"terminate", r.terminatePod},
		{"rolling", r.rollingRestart},
		{"stop", r.stopPod},
		{"redis", r.emptyRedis},
		{"cut", func() { r.cutPath(broken) }},
		{"silence", func() { r.cutPath(silent) }},
		{"agents", r.restartAgents},
		{"rivals", r.rivals},
	}
}

// breakOne does one thing, and waits until everything is well again.
func (r *run) breakOne(f fault) {
	r.t.Helper()
	r.load.pause()
	r.agree()
	// One that lost several links within a minute takes its time to return, by
	// design; what is held against the pods is how long they take.
	r.restart()
	r.load.start()
	eventually(r.t, "all is well before "+f.name, r.settled)
	pause(r.t.Context(), 500*time.Millisecond)
	r.note("%s", f.name)
	f.do()
	eventually(r.t, "all is well after "+f.name, r.settled)
	// The requests of a time after the last excuse tell whether service is whole.
	pause(r.t.Context(), time.Until(r.lastExcuse().Add(mostSlack))+time.Second)
	r.note("%s is over", f.name)
	r.check()
}

// victim is a pod that holds some tunnels, and who holds which.
func (r *run) victim() (*pod, []int) {
	r.t.Helper()
	holders, err := r.holders()
	if err != nil {
		r.t.Fatal(err)
	}
	count := make([]int, podCount)
	for _, place := range holders {
		if place >= 0 {
			count[place]++
		}
	}
	r.note("tunnels of the pods: %v", count)
	most := slices.Max(count)
	for _, place := range r.random.Perm(podCount) {
		if count[place] >= most/2 && count[place] > 0 {
			return r.pods[place], holders
		}
	}
	panic("unreachable: the one with most has most")
}

// killPod ends a pod without a goodbye. Its place is taken by a new one later.
func (r *run) killPod() {
	p, holders := r.victim()
	began := time.Now()
	p.kill()
	ended := time.Now()
	r.note("pod %d was killed", p.index)
	whole := ended.Add(lease + 2*time.Second)
	held := func(a *asked) bool { return holders[a.tunnel] == p.index }
	r.excuse(
		excuse{"in flight on a pod that was killed", began, ended, losing, func(a *asked) bool { return a.door == p.index || held(a) }},
		// What has been written to a connection may have been read, as far as the
		// door knows, until it hears that nobody is there.
		excuse{"sent to a pod that was killed", began, ended, losing, func(a *asked) bool { return a.door != p.index && held(a) }},
		excuse{"a pod was killed, whose lease lapses", began, whole, refusing, held},
	)
	pause(r.t.Context(), lease+2*time.Second)
	p.start()
	r.note("pod %d is back", p.index)
}

// terminatePod asks a pod to end. That excuses nothing.
func (r *run) terminatePod() {
	p, _ := r.victim()
	p.terminate()
	r.note("pod %d has ended", p.index)
	pause(r.t.Context(), time.Second)
	p.start()
}

// rollingRestart replaces all pods, as a deploy does. That excuses nothing.
func (r *run) rollingRestart() {
	for _, place := range r.random.Perm(podCount) {
		p := r.pods[place]
		p.terminate()
		p.start()
		eventually(r.t, "the balancer knows that the pod is back", r.balancer.pods[place].ready.Load)
		r.note("pod %d is a new one", place)
	}
}

// stopPod makes a pod stand still for 10 s.
func (r *run) stopPod() {
	p, holders := r.victim()
	began := time.Now()
	p.Signal(syscall.SIGSTOP)
	r.note("pod %d stands still", p.index)
	pause(r.t.Context(), 10*time.Second)
	p.Signal(syscall.SIGCONT)
	again := time.Now()
	r.note("pod %d goes on", p.index)
	held := func(a *asked) bool { return holders[a.tunnel] == p.index }
	// Its agents notice, and their tunnels are free by then; so does the balancer.
	moved := began.Add(max(lease, agentPing+agentPatience) + 2*time.Second)
	r.excuse(
		excuse{"the door stood still", began, again, losing, func(a *asked) bool {
			return a.door == p.index && a.begun.Before(began.Add(healthTimeout+healthEvery+mostSlack))
		}},
		excuse{"the door stood still", began, again, refusing, func(a *asked) bool { return a.door == p.index }},
		excuse{"the pod that held the tunnel stood still", began, moved, losing, held},
		excuse{"the pod that held the tunnel stood still", began, moved, refusing, held},
	)
}

// emptyRedis kills Redis and starts it again: it has forgotten everything.
func (r *run) emptyRedis() {
	_, holders := r.victim()
	elsewhere := func(a *asked) bool { return a.door < 0 || a.door != holders[a.tunnel] }
	began := time.Now()
	r.redis.Kill()
	r.note("Redis was killed")
	ended := time.Now()
	pause(r.t.Context(), 3*time.Second)
	r.redis.Start()
	r.note("Redis is back, and empty")
	r.excuse(excuse{"Redis was away, and then empty", began, time.Now().Add(10 * time.Second), refusing, elsewhere})
	if r.carrier == "redis" {
		r.excuse(excuse{"in flight by way of Redis", began, ended, losing, elsewhere})
	}
}

// cutPath breaks the way between a pod and the others for 6 s. Where that way
// leads by Redis, the pod has lost the registry, too.
func (r *run) cutPath(how cut) {
	p, holders := r.victim()
	began := time.Now()
	p.path.cut(how)
	r.note("the path of pod %d is %s", p.index, how)
	pause(r.t.Context(), 6*time.Second)
	p.path.heal()
	healed := time.Now()
	r.note("the path of pod %d is whole", p.index)
	across := func(a *asked) bool {
		holder := holders[a.tunnel]
		if p.peersDialIt {
			return holder == p.index && a.door != p.index
		}
		return (holder == p.index) != (a.door == p.index)
	}
	again := 5 * time.Second
	if r.carrier == "redis" {
		again = 10 * time.Second
	}
	until := healed.Add(again)
	r.excuse(
		excuse{"the path was cut", began, until, refusing, across},
		excuse{"in flight on a path that was cut", began, until, losing, across},
	)
}

// restartAgents gives every agent a new process, so to speak. Those of a
// streaming tunnel lose nothing by that; a JSON agent has no way to announce that
// it leaves.
func (r *run) restartAgents() {
	began := time.Now()
	r.restart()
	r.excuse(excuse{"the JSON agent restarted", began, time.Now(), losing, func(a *asked) bool { return a.tunnel%2 == 1 }})
}
