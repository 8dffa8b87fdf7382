from lb.cluster.problems import Problem, Problems


def test_a_problem_says_where_what_why_and_what_to_do() -> None:
    problem = Problem("Service shop/web", "spec.type", "'x' is not known", "write ClusterIP", "a.yaml:3")
    assert str(problem) == "a.yaml:3: Service shop/web: spec.type: 'x' is not known (write ClusterIP)"
    assert str(Problem("Service shop/web", "", "is odd")) == "Service shop/web: is odd"


def test_problems_are_replaced_by_origin_and_told_once() -> None:
    problems = Problems()
    a, b = Problem("a", "", "1"), Problem("b", "", "2")
    assert problems.replace("file", [a]) == (a,)
    assert problems.replace("file", [a, b]) == (b,)
    assert problems.replace("other", [a]) == (a,)
    assert len(problems) == 3
    assert problems.replace("file", []) == ()
    assert list(problems) == [a]
